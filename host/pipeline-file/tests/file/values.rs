//! The small types.

use std::time::Duration;

use pipeline_file::{
    CpuCount, EnvKey, EnvValue, MemorySize, NameError, RelativePath, Retry, RunId, StepName,
    ValueError,
};

#[test]
fn step_names_have_64_characters_and_run_ids_58() {
    let name = |length: usize| "n".repeat(length);
    assert!(name(64).parse::<StepName>().is_ok());
    let too_long = NameError::TooLong {
        length: 65,
        max: 64,
    };
    assert_eq!(name(65).parse::<StepName>(), Err(too_long));
    assert!(name(58).parse::<RunId>().is_ok());
    assert!(name(59).parse::<RunId>().is_err());
    for good in ["a", "0", "_", "A.b-c_9", "_-", "a..b"] {
        assert!(good.parse::<StepName>().is_ok(), "{good}");
        assert!(good.parse::<RunId>().is_ok(), "{good}");
    }
    for bad in [
        "", ".", "..", "-", "-a", ".a", "a/b", "a b", "ä", "a\n", "a\0", "a:b", "a\\b",
    ] {
        assert!(bad.parse::<StepName>().is_err(), "{bad:?}");
        assert!(bad.parse::<RunId>().is_err(), "{bad:?}");
    }
}

#[test]
fn made_run_ids_are_run_ids() {
    for bits in [0, 1, 0x1234_5678_9abc_def0_0fed_cba9_8765_4321, u128::MAX] {
        let id = RunId::from_bits(bits);
        assert_eq!(id.as_str().parse::<RunId>().unwrap(), id);
        let digits = id.as_str().replace('-', "");
        assert_eq!(u128::from_str_radix(&digits, 16).unwrap(), bits);
    }
}

#[test]
fn environment_texts() {
    for good in ["A", "_", "_9", "log_level", "PATH"] {
        assert!(good.parse::<EnvKey>().is_ok(), "{good}");
    }
    for bad in ["", "9", "A-B", "A B", "A=B", "Ä", "A\0"] {
        assert_eq!(bad.parse::<EnvKey>(), Err(ValueError::EnvKey), "{bad}");
    }
    let value: EnvValue = "line\n\"quoted\" ünï 🚀".parse().unwrap();
    assert_eq!(value.as_str(), "line\n\"quoted\" ünï 🚀");
    assert_eq!(format!("{value:?}"), "EnvValue(24 bytes)");
    assert_eq!("a\0".parse::<EnvValue>(), Err(ValueError::Nul));
}

#[test]
fn relative_paths_get_one_form() {
    let path = |text: &str| text.parse::<RelativePath>().map(|path| path.to_string());
    for (text, normal) in [
        ("a", "a"),
        ("./a", "a"),
        ("a//b/", "a/b"),
        ("a/./b", "a/b"),
        ("..a/b..", "..a/b.."),
        ("a b/ü", "a b/ü"),
    ] {
        assert_eq!(path(text).as_deref(), Ok(normal), "{text}");
    }
    for (text, fault) in [
        ("", ValueError::NoPath),
        (".", ValueError::NoPath),
        ("./", ValueError::NoPath),
        ("/", ValueError::Absolute),
        ("/a", ValueError::Absolute),
        ("//a", ValueError::Absolute),
        ("..", ValueError::Parent),
        ("a/../b", ValueError::Parent),
        ("./..", ValueError::Parent),
        ("a\0", ValueError::Nul),
    ] {
        assert_eq!(path(text), Err(fault), "{text:?}");
    }
}

#[test]
fn memory_is_digits_and_a_unit() {
    for good in ["0B", "1KB", "512MiB", "007GB", "99999999999999999999PiB"] {
        assert!(good.parse::<MemorySize>().is_ok(), "{good}");
    }
    for bad in [
        "",
        " ",
        "MB",
        "512kB",
        "512MIB",
        "512 MB",
        " 512MB",
        "512MB ",
        "512MB\n",
        "1.5GB",
        "1,000MB",
        "1_000MB",
        "+1GB",
        "1e3MB",
        "0x10MB",
        "2G",
        "2Gi",
        "1EB",
        "1b",
        "٥١٢MB",
        "５MB",
        "5\0MB",
        "1GBMB",
        "{{secret.key}}",
        "512",
    ] {
        assert!(bad.parse::<MemorySize>().is_err(), "{bad:?}");
    }
}

#[test]
fn processors_are_above_zero() {
    for good in [1e-300, 0.1, 1.0, 1e18] {
        assert!(CpuCount::try_from(good).is_ok(), "{good}");
    }
    for bad in [0.0, -0.0, -0.5, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        assert!(CpuCount::try_from(bad).is_err(), "{bad}");
    }
}

#[test]
fn pauses_are_bounded_whatever_the_numbers() {
    let pause = |delay_seconds, backoff, number| {
        let retry = Retry {
            max_retries: 9,
            delay_seconds,
            backoff,
        };
        retry.pause(number)
    };
    let day = Duration::from_secs(86_400);
    assert_eq!(pause(1.5, 1.0, 9), Duration::from_millis(1500));
    assert_eq!(pause(10.0, 0.0, 1), Duration::from_secs(10));
    assert_eq!(pause(10.0, 0.0, 2), Duration::ZERO);
    assert_eq!(pause(10.0, 10.0, u32::MAX), day);
    assert_eq!(pause(0.0, f64::MAX, u32::MAX), Duration::ZERO);
    assert_eq!(pause(1.0, 2.0, 0), Duration::from_secs(1));
    assert_eq!(pause(f64::NAN, -1.0, 2), Duration::ZERO);
    assert_eq!(pause(-5.0, 1.0, 1), Duration::ZERO);
    assert_eq!(pause(f64::INFINITY, 1.0, 1), day);
}
