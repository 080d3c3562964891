//! Memory.

/// A text such as `512MB` or `2GiB`, understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    quantity: u128,
    unit: Unit,
}

/// Units that ZenML knows, decimal and binary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Unit {
    name: &'static str,
    bytes: u128,
}

/// From ZenML's `ByteUnit`. Sorted so that a longer name comes before one that
/// it ends with (`KB` before `B`).
const UNITS: [Unit; 11] = [
    Unit {
        name: "KiB",
        bytes: 1 << 10,
    },
    Unit {
        name: "MiB",
        bytes: 1 << 20,
    },
    Unit {
        name: "GiB",
        bytes: 1 << 30,
    },
    Unit {
        name: "TiB",
        bytes: 1 << 40,
    },
    Unit {
        name: "PiB",
        bytes: 1 << 50,
    },
    Unit {
        name: "KB",
        bytes: 1_000,
    },
    Unit {
        name: "MB",
        bytes: 1_000_000,
    },
    Unit {
        name: "GB",
        bytes: 1_000_000_000,
    },
    Unit {
        name: "TB",
        bytes: 1_000_000_000_000,
    },
    Unit {
        name: "PB",
        bytes: 1_000_000_000_000_000,
    },
    Unit {
        name: "B",
        bytes: 1,
    },
];

/// Bytes in the unit that ZenML reckons in before it talks to Modal.
const MEGABYTE: u128 = 1_000_000;

impl Memory {
    /// Understands ASCII digits followed at once by a unit.
    ///
    /// # Errors
    ///
    /// For any other text, and for more bytes than 128 bits can count.
    pub fn parse(text: &str) -> Result<Self, MemoryError> {
        let (digits, unit) = UNITS
            .iter()
            .find_map(|unit| Some((text.strip_suffix(unit.name)?, *unit)))
            .ok_or(MemoryError::Pattern)?;
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(MemoryError::Pattern);
        }
        let quantity = digits.parse::<u128>().map_err(|_| MemoryError::TooMuch)?;
        quantity
            .checked_mul(unit.bytes)
            .ok_or(MemoryError::TooMuch)?;
        Ok(Self { quantity, unit })
    }

    /// The number that goes to Modal: decimal megabytes, rounded up.
    ///
    /// Modal takes the number for binary mebibytes, so that a sandbox gets up
    /// to 4.9 % more than was asked for. This is what ZenML 0.98.0 does.
    ///
    /// # Errors
    ///
    /// For more than fits Modal's request.
    pub fn megabytes(self) -> Result<u32, MemoryError> {
        // The product was checked when the text was understood.
        let bytes = self.quantity.saturating_mul(self.unit.bytes);
        u32::try_from(bytes.div_ceil(MEGABYTE)).map_err(|_| MemoryError::TooMuch)
    }
}

/// Why a text is not an amount of memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MemoryError {
    /// Not digits and a unit. ZenML words it so.
    #[error("String should match pattern '^[0-9]+(B|KB|KiB|MB|MiB|GB|GiB|TB|TiB|PB|PiB)$'")]
    Pattern,
    /// More than can be asked for.
    #[error("this is more memory than can be asked for (the limit is 4294967295 MB)")]
    TooMuch,
}

#[cfg(test)]
mod tests {
    use super::{Memory, MemoryError};
    use proptest::prelude::*;

    fn megabytes(text: &str) -> Result<u32, MemoryError> {
        Memory::parse(text)?.megabytes()
    }

    #[test]
    fn decimal_megabytes_rounded_up() {
        for (text, expected) in [
            ("0B", 0),
            ("1B", 1),
            ("1000001B", 2),
            ("977KiB", 2),
            ("512MiB", 537),
            ("32GB", 32_000),
            ("32GiB", 34_360),
            ("0000512MB", 512),
        ] {
            assert_eq!(megabytes(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "", "MB", "512kB", "512 MB", " 512MB", "1.5GB", "+1GB", "512MB\n", "٥MB", "1GBMB",
        ] {
            assert_eq!(megabytes(text), Err(MemoryError::Pattern), "{text:?}");
        }
        for text in ["9223372036854775808MB", &format!("{}GB", "9".repeat(400))] {
            assert_eq!(megabytes(text), Err(MemoryError::TooMuch), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn rounding_is_up_and_by_less_than_one(quantity in 0_u32.., unit in 0_usize..11) {
            let unit = super::UNITS[unit];
            if let Ok(megabytes) = megabytes(&format!("{quantity}{}", unit.name)) {
                let asked = u128::from(quantity) * unit.bytes;
                let given = u128::from(megabytes) * super::MEGABYTE;
                prop_assert!(given >= asked && given - asked < super::MEGABYTE);
            }
        }
    }
}
