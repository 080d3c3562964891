//! Memory.

/// A text such as `512MB` or `2GiB`, understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    quantity: u128,
    unit: Unit,
}

/// Units that ZenML knows, decimal and binary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unit {
    name: &'static str,
    bytes: Bytes,
}

/// How many bytes a unit has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bytes {
    /// This power of 10.
    Ten(u8),
    /// This power of 2.
    Two(u8),
}

/// From ZenML's `ByteUnit`. Sorted so that a longer name comes before one that
/// it ends with (`KB` before `B`).
pub const UNITS: [Unit; 11] = [
    Unit::new("KiB", Bytes::Two(10)),
    Unit::new("MiB", Bytes::Two(20)),
    Unit::new("GiB", Bytes::Two(30)),
    Unit::new("TiB", Bytes::Two(40)),
    Unit::new("PiB", Bytes::Two(50)),
    Unit::new("KB", Bytes::Ten(3)),
    Unit::new("MB", Bytes::Ten(6)),
    Unit::new("GB", Bytes::Ten(9)),
    Unit::new("TB", Bytes::Ten(12)),
    Unit::new("PB", Bytes::Ten(15)),
    Unit::new("B", Bytes::Ten(0)),
];

impl Unit {
    const fn new(name: &'static str, bytes: Bytes) -> Self {
        Self { name, bytes }
    }

    /// The unit of this name.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub fn named(name: &str) -> Result<Self, UnknownUnit> {
        let unit = UNITS.into_iter().find(|unit| unit.name == name);
        unit.ok_or_else(|| UnknownUnit(name.to_owned()))
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        self.name
    }

    /// Bytes in one.
    pub fn bytes(self) -> u64 {
        match self.bytes {
            Bytes::Ten(power) => 10_u64.saturating_pow(power.into()),
            Bytes::Two(power) => 1 << power,
        }
    }
}

/// No unit has this name. ZenML words it so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} is not a valid ByteUnit", crate::text::quoted(.0))]
pub struct UnknownUnit(String);

/// Bytes in the unit that ZenML reckons in before it talks to Modal.
const MEGABYTE: u128 = 1_000_000;

/// Bytes in the unit that Modal reckons in.
const MEBIBYTE: u128 = 1 << 20;

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
            .checked_mul(unit.bytes().into())
            .ok_or(MemoryError::TooMuch)?;
        Ok(Self { quantity, unit })
    }

    /// The number in front of the unit.
    pub fn quantity(self) -> u128 {
        self.quantity
    }

    /// The unit that it was written in.
    pub fn unit(self) -> Unit {
        self.unit
    }

    /// The amount in another unit, as near as a floating-point number comes.
    pub fn in_unit(self, unit: Unit) -> f64 {
        let bytes = self.bytes();
        match unit.bytes {
            // Reading a decimal rounds once; dividing would round twice.
            Bytes::Ten(power) => format!("{bytes}e-{power}").parse().unwrap_or(f64::INFINITY),
            #[allow(
                clippy::cast_precision_loss,
                reason = "rounds once: dividing by a power of 2 is exact"
            )]
            Bytes::Two(_) => bytes as f64 / unit.bytes() as f64,
        }
    }

    /// Decimal megabytes, rounded up.
    pub fn megabytes(self) -> u128 {
        self.bytes().div_ceil(MEGABYTE)
    }

    /// The number that goes to Modal, which takes it for binary mebibytes.
    ///
    /// # Errors
    ///
    /// For more than fits Modal's request.
    pub fn request(self, measure: Measure) -> Result<u32, MemoryError> {
        let number = match measure {
            Measure::AsZenml => self.megabytes(),
            Measure::Exact => self.bytes().div_ceil(MEBIBYTE),
        };
        u32::try_from(number).map_err(|_| MemoryError::TooMuch)
    }

    fn bytes(self) -> u128 {
        // The product was checked when the text was understood.
        self.quantity.saturating_mul(self.unit.bytes().into())
    }
}

/// In which unit memory goes to Modal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Measure {
    /// Decimal megabytes, rounded up, although Modal takes them for mebibytes: a
    /// sandbox gets up to 4.9 % more than was asked for. This is what ZenML
    /// 0.98.0 does, and what people have set their figures by.
    #[default]
    AsZenml,
    /// Mebibytes, rounded up: what was asked for.
    Exact,
}

impl Measure {
    /// What to say when another number than the exact one goes to Modal.
    pub fn warning(self, memory: &str, amount: Memory) -> Option<String> {
        let (sent, exact) = (
            amount.request(self).ok()?,
            amount.request(Self::Exact).ok()?,
        );
        (sent != exact).then(|| {
            format!(
                "memory {memory} goes to Modal as {sent}, as ZenML sends it; Modal takes that for \
                 MiB, while {memory} is {exact} MiB. Set `exact_memory: true` in the settings to \
                 get that."
            )
        })
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
    use super::{Measure, Memory, MemoryError, Unit};
    use proptest::prelude::*;

    fn megabytes(text: &str) -> Result<u32, MemoryError> {
        Memory::parse(text)?.request(Measure::AsZenml)
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

    #[test]
    fn the_exact_number_is_an_option() {
        let amount = Memory::parse("32GiB").unwrap();
        assert_eq!(amount.request(Measure::Exact), Ok(32_768));
        let warning = Measure::AsZenml.warning("32GiB", amount).unwrap();
        assert!(
            warning.contains("34360") && warning.contains("32768 MiB"),
            "{warning}"
        );
        assert_eq!(Measure::Exact.warning("32GiB", amount), None);
    }

    #[test]
    fn other_units_are_rounded_once() {
        let amount = |text| Memory::parse(text).unwrap();
        let unit = |name| Unit::named(name).unwrap();
        assert_eq!(amount("3KiB").in_unit(unit("KB")), 3.072);
        assert_eq!(amount("7PB").in_unit(unit("TiB")), 6366.462912410498);
        let text = Unit::named("mb").unwrap_err().to_string();
        assert_eq!(text, "'mb' is not a valid ByteUnit");
    }

    proptest! {
        #[test]
        fn what_was_written_is_read_back(quantity in any::<u64>(), unit in 0_usize..11) {
            let unit = super::UNITS[unit];
            let memory = Memory::parse(&format!("{quantity}{}", unit.name())).unwrap();
            prop_assert_eq!((memory.quantity(), memory.unit()), (u128::from(quantity), unit));
            let again = format!("{}{}", memory.quantity(), memory.unit().name());
            prop_assert_eq!(Memory::parse(&again), Ok(memory));
        }

        #[test]
        fn the_same_in_bytes_is_as_much(quantity in any::<u64>(), unit in 0_usize..11) {
            let unit = super::UNITS[unit];
            let memory = Memory::parse(&format!("{quantity}{}", unit.name())).unwrap();
            let bytes = Memory::parse(&format!("{}B", memory.bytes())).unwrap();
            prop_assert_eq!(bytes.megabytes(), memory.megabytes());
        }

        #[test]
        fn rounding_is_up_and_by_less_than_one(quantity in 0_u32.., unit in 0_usize..11) {
            let unit = super::UNITS[unit];
            if let Ok(megabytes) = megabytes(&format!("{quantity}{}", unit.name)) {
                let asked = u128::from(quantity) * u128::from(unit.bytes());
                let given = u128::from(megabytes) * super::MEGABYTE;
                prop_assert!(given >= asked && given - asked < super::MEGABYTE);
            }
        }
    }
}
