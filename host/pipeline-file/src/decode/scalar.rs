//! Texts, numbers and booleans.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use super::Decoder;
use super::place::Place;
use crate::node::{Node, Value, excerpt};

impl Decoder<'_> {
    /// Any text.
    pub fn text<'p>(&mut self, place: Place<'p>, expected: &str) -> Option<&'p str> {
        if let Value::Text(text) = &place.node.value {
            return Some(text);
        }
        if place.node.is_bare_scalar() {
            let spelling = excerpt(place.node.spelling(self.source)).to_string();
            self.mismatch(
                place,
                expected,
                format_args!("put it in quotes: \"{spelling}\""),
            );
        } else {
            self.mismatch(place, expected, "write one text here");
        }
        None
    }

    /// A text with something in it.
    pub fn filled_text(&mut self, place: Place<'_>, expected: &str) -> Option<String> {
        let text = self.text(place, expected)?;
        if text.trim().is_empty() {
            self.mismatch(
                place,
                expected,
                "fill it in, or leave the key out where it is optional",
            );
            return None;
        }
        if text.contains('\0') {
            self.report(place, "the text contains a NUL character", "remove it");
            return None;
        }
        Some(text.to_owned())
    }

    /// A text of some kind of its own.
    pub fn parsed<T>(&mut self, place: Place<'_>, expected: &str, help: &str) -> Option<T>
    where
        T: FromStr<Err: fmt::Display>,
    {
        let text = self.text(place, expected)?;
        match text.parse() {
            Ok(value) => Some(value),
            Err(reason) => {
                let what = format!("`{}` is not {expected}: {reason}", excerpt(text));
                self.report(place, what, help);
                None
            }
        }
    }

    /// `true` or `false`.
    pub fn boolean(&mut self, place: Place<'_>) -> Option<bool> {
        if let Value::Bool(value) = place.node.value {
            return Some(value);
        }
        self.mismatch(
            place,
            "true or false",
            "write `true` or `false`, without quotes",
        );
        None
    }

    /// A whole number within a range. `3.0` is one: JSON makes no difference.
    pub fn integer(&mut self, place: Place<'_>, range: RangeInclusive<i64>) -> Option<i64> {
        let Some(number) = whole(place.node) else {
            self.mismatch(place, "a whole number", number_help(place.node));
            return None;
        };
        let (least, most) = range.clone().into_inner();
        if !range.contains(&number) {
            let spelling = excerpt(place.node.spelling(self.source)).to_string();
            let what = format!("`{spelling}` is not a number from {least} to {most}");
            self.report(place, what, "write such a number");
            return None;
        }
        Some(number)
    }

    /// A number that a rule accepts; `expected` says the rule.
    pub fn number<T>(
        &mut self,
        place: Place<'_>,
        expected: &str,
        rule: impl FnOnce(f64) -> Option<T>,
    ) -> Option<T> {
        let number = match place.node.value {
            #[expect(clippy::cast_precision_loss, reason = "no rule is that precise")]
            Value::Integer(number) => number as f64,
            Value::Number(number) => number,
            _ => {
                self.mismatch(place, expected, number_help(place.node));
                return None;
            }
        };
        let accepted = rule(number);
        if accepted.is_none() {
            let spelling = excerpt(place.node.spelling(self.source)).to_string();
            self.report(
                place,
                format_args!("`{spelling}` is not {expected}"),
                "write such a number",
            );
        }
        accepted
    }
}

/// The whole number that a node is, when it is one.
fn whole(node: &Node<'_>) -> Option<i64> {
    // Beyond 2^53 a float stands for several whole numbers.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match node.value {
        Value::Integer(number) => Some(number),
        #[expect(clippy::cast_possible_truncation, reason = "whole and within 2^53")]
        Value::Number(number) if number.fract() == 0.0 && number.abs() <= EXACT => {
            Some(number as i64)
        }
        _ => None,
    }
}

fn number_help(node: &Node<'_>) -> &'static str {
    match &node.value {
        Value::Text(text) if text.parse::<f64>().is_ok() => "remove the quotes",
        _ => "write a number, without quotes or unit",
    }
}
