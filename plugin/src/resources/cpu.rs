//! Cores.

/// A request for CPU in thousandths of a core.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MilliCpu(u32);

impl MilliCpu {
    /// Thousandths of a core; 0 leaves it to Modal.
    pub fn get(self) -> u32 {
        self.0
    }

    /// Converts a number of cores the way the SDK does: thousandths, cut off.
    ///
    /// # Errors
    ///
    /// For what is not a positive number, or more than fits the wire.
    pub fn from_cores(cores: f64) -> Result<Self, CpuError> {
        if cores.is_nan() || cores <= 0.0 {
            return Err(CpuError::NotPositive);
        }
        let milli = (cores * 1000.0).trunc();
        if milli > f64::from(u32::MAX) {
            return Err(CpuError::TooMany { cores });
        }
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "checked against both ends above"
        )]
        Ok(Self(milli as u32))
    }
}

/// Why a number of cores is not acceptable.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum CpuError {
    /// Zero, negative or not a number. ZenML words it so.
    #[error("Input should be greater than 0")]
    NotPositive,
    /// More than Modal's request can hold.
    #[error("{cores} CPU cores are more than can be asked for")]
    TooMany {
        /// What was asked for.
        cores: f64,
    },
}

#[cfg(test)]
mod tests {
    use super::{CpuError, MilliCpu};

    #[test]
    fn thousandths_are_cut_off() {
        assert_eq!(MilliCpu::from_cores(2.0).unwrap().get(), 2000);
        assert_eq!(MilliCpu::from_cores(0.5).unwrap().get(), 500);
        assert_eq!(MilliCpu::from_cores(0.0019).unwrap().get(), 1);
        assert_eq!(MilliCpu::from_cores(1e-300).unwrap().get(), 0);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for cores in [0.0, -1.0, f64::NAN] {
            assert_eq!(MilliCpu::from_cores(cores), Err(CpuError::NotPositive));
        }
        assert!(MilliCpu::from_cores(f64::INFINITY).is_err());
        assert!(MilliCpu::from_cores(1e18).is_err());
    }
}
