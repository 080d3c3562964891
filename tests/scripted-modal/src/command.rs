//! What a sandbox does.

use std::time::Duration;

/// The command of a sandbox: words that say what it does, in this order.
///
/// `sleep SECONDS` lives so long, `say TEXT` writes to standard output at once,
/// `exit CODE` ends with a code. `sleep 5 say hello exit 3` does all of it.
/// Words that are none of these do nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct Command {
    /// How long it lives.
    pub lives: Duration,
    /// What it writes to standard output.
    pub says: String,
    /// Its exit code.
    pub code: i32,
}

impl Command {
    /// Understands the arguments of a create request.
    pub fn parse(arguments: &[String]) -> Self {
        let mut command = Self {
            lives: Duration::ZERO,
            says: String::new(),
            code: 0,
        };
        for pair in arguments.chunks(2) {
            let [verb, value] = pair else { continue };
            match verb.as_str() {
                "sleep" => {
                    let seconds = value.parse().unwrap_or_default();
                    command.lives = Duration::try_from_secs_f64(seconds).unwrap_or_default();
                }
                "say" => command.says.push_str(value),
                "exit" => command.code = value.parse().unwrap_or_default(),
                _ => {}
            }
        }
        command
    }
}

#[cfg(test)]
mod tests {
    use super::Command;
    use std::time::Duration;

    #[test]
    fn words_in_pairs() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let command = Command::parse(&words("sleep 0.5 say hello exit 3"));
        assert_eq!(command.lives, Duration::from_millis(500));
        assert_eq!((command.says.as_str(), command.code), ("hello", 3));
        assert_eq!(Command::parse(&words("true")).code, 0);
    }
}
