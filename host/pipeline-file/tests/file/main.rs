//! Pipeline files, good and bad, through the public API.

#[cfg(test)]
mod bad;
#[cfg(test)]
mod good;
#[cfg(test)]
mod large;
mod object;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod values;
