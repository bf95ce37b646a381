//! Script: a business with its assistant, and the grammar of its conversations.
//!
//! The texts are in the folder `scripts`, whose README describes each line. A script is parsed once,
//! and borrows its text.

use std::iter::Peekable;
use std::str::Lines;

use anyhow::{Context, Result, bail, ensure};

/// The business of one script.
#[derive(Debug, Default)]
pub(super) struct Script<'t> {
    pub(super) assistant: &'t str,
    pub(super) sender: &'t str,
    pub(super) sender_phone: &'t str,
    pub(super) language: &'t str,
    pub(super) phones: Vec<PhoneRange<'t>>,
    pub(super) weight: u64,
    /// The weights of WhatsApp, widget, API and test.
    pub(super) channels: [u64; 4],
    /// The template of external identifiers.
    pub(super) identifier: &'t str,
    pub(super) persona: &'t str,
    pub(super) slots: Vec<Slots<'t>>,
    pub(super) opening: Block<'t>,
    pub(super) closing: Block<'t>,
    pub(super) topics: Vec<Topic<'t>>,
}

/// Phone numbers: a pattern with the digits of a counter.
#[derive(Debug)]
pub(super) struct PhoneRange<'t> {
    pattern: &'t str,
    first: u64,
    count: u64,
}

/// Slots whose values are chosen together.
#[derive(Debug)]
pub(super) struct Slots<'t> {
    pub(super) names: Vec<&'t str>,
    /// Each has one value for each name.
    pub(super) values: Vec<Vec<&'t str>>,
    /// Whether the values belong to the customer.
    pub(super) own: bool,
}

/// What a conversation may be about.
#[derive(Debug)]
pub(super) struct Topic<'t> {
    pub(super) weight: u64,
    /// Whether it may follow another topic.
    pub(super) is_side: bool,
    pub(super) block: Block<'t>,
}

/// Steps of a dialogue, in order.
pub(super) type Block<'t> = Vec<Step<'t>>;

/// One step of a dialogue. Texts are templates.
#[derive(Debug)]
pub(super) enum Step<'t> {
    Customer(&'t str),
    Assistant(&'t str),
    /// The name of a function and its arguments.
    Call(&'t str, &'t str),
    CallResult(&'t str),
    /// A person takes over, with this system message.
    HandOver(&'t str),
    Variables(&'t str),
    /// One of these continuations.
    Either(Vec<Block<'t>>),
}

impl<'t> Script<'t> {
    /// Parses a script.
    ///
    /// # Errors
    /// Fails with the line that is not in the form of the README of the scripts.
    pub(super) fn parse(text: &'t str) -> Result<Self> {
        let mut script = Self::default();
        let mut lines = text.lines().peekable();
        while let Some(line) = lines.next() {
            let (word, rest) = split(line);
            script.read(word, rest, &mut lines).with_context(|| format!("in the line `{line}`"))?;
        }
        ensure!(!script.topics.is_empty() && !script.phones.is_empty(), "no topics or no phones");
        Ok(script)
    }

    fn read(&mut self, word: &str, rest: &'t str, lines: &mut Peekable<Lines<'t>>) -> Result<()> {
        match word {
            "" | "#" => {}
            "assistant" => self.assistant = rest,
            "sender" => self.sender = rest,
            "sender_phone" => self.sender_phone = rest,
            "language" => self.language = rest,
            "identifier" => self.identifier = rest,
            "persona" => self.persona = rest,
            "weight" => self.weight = rest.parse()?,
            "phones" => {
                self.phones = rest.split(';').map(PhoneRange::parse).collect::<Result<_>>()?;
            }
            "channels" => self.channels = channels(rest)?,
            "slot" | "own" => self.slots.push(Slots::parse(rest, word == "own")?),
            "opening" => self.opening = block(lines)?,
            "closing" => self.closing = block(lines)?,
            "topic" | "side" => {
                let weight = split(rest).1.parse()?;
                let (is_side, block) = (word == "side", block(lines)?);
                self.topics.push(Topic { weight, is_side, block });
            }
            _ => bail!("unknown word"),
        }
        Ok(())
    }

    /// How many customers the business has: one for each phone number.
    pub(super) fn customers(&self) -> u64 {
        self.phones.iter().map(|range| range.count).sum()
    }

    /// The phone number of a customer.
    pub(super) fn phone(&self, customer: u64) -> Option<String> {
        let mut left = customer;
        for range in &self.phones {
            match left.checked_sub(range.count) {
                Some(rest) => left = rest,
                None => return Some(range.phone(left)),
            }
        }
        None
    }
}

impl<'t> PhoneRange<'t> {
    fn parse(text: &'t str) -> Result<Self> {
        let mut parts = text.split(',').map(str::trim);
        let (Some(pattern), Some(first), Some(count), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            bail!("must be PATTERN, FIRST, COUNT");
        };
        Ok(Self { pattern, first: first.parse()?, count: count.parse()? })
    }

    fn phone(&self, index: u64) -> String {
        let digits = self.pattern.matches('#').count();
        let counter = format!("{:0digits$}", self.first + index);
        let mut counter = counter.chars();
        let digit = |sign| if sign == '#' { counter.next().unwrap_or('0') } else { sign };
        self.pattern.chars().map(digit).collect()
    }
}

impl<'t> Slots<'t> {
    fn parse(text: &'t str, own: bool) -> Result<Self> {
        let (names, values) = text.split_once('=').context("must be NAMES = VALUES")?;
        let names: Vec<&str> = names.split(',').map(str::trim).collect();
        let one = names.len() == 1;
        let parts = |value: &'t str| -> Vec<&str> {
            if one { vec![value.trim()] } else { value.split(',').map(str::trim).collect() }
        };
        let values: Vec<Vec<&str>> = values.split('|').map(parts).collect();
        ensure!(values.iter().all(|value| value.len() == names.len()), "a value is missing");
        Ok(Self { names, values, own })
    }
}

/// Splits a line into its first word and the rest.
fn split(line: &str) -> (&str, &str) {
    let (word, rest) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
    (word, rest.trim())
}

fn channels(text: &str) -> Result<[u64; 4]> {
    let mut weights = [0; 4];
    for part in text.split(',') {
        let (name, weight) = split(part);
        let at = ["whatsapp", "widget", "api", "test"].iter().position(|known| *known == name);
        weights[at.context("unknown channel")?] = weight.parse()?;
    }
    Ok(weights)
}

/// Parses steps up to a line that is none.
fn block<'t>(lines: &mut Peekable<Lines<'t>>) -> Result<Block<'t>> {
    let mut steps = Block::new();
    while let Some(line) = lines.peek() {
        let (word, rest) = split(line);
        let step = match word {
            ">" => Step::Customer(rest),
            "<" => Step::Assistant(rest),
            "!" => {
                let (name, arguments) = split(rest);
                Step::Call(name, arguments)
            }
            "=" => Step::CallResult(rest),
            "*" => Step::HandOver(rest),
            "%" => Step::Variables(rest),
            "either" => Step::Either(Vec::new()),
            _ => return Ok(steps),
        };
        lines.next();
        steps.push(match step {
            Step::Either(_) => Step::Either(continuations(lines)?),
            step => step,
        });
    }
    Ok(steps)
}

/// Parses the continuations after `either`, and the line `end`.
fn continuations<'t>(lines: &mut Peekable<Lines<'t>>) -> Result<Vec<Block<'t>>> {
    let mut all = vec![block(lines)?];
    loop {
        match lines.next().map(str::trim) {
            Some("or") => all.push(block(lines)?),
            Some("end") => return Ok(all),
            _ => bail!("either without end"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = "# A comment\nassistant A\nphones +1 ##, 98, 2; +2 #, 3, 1\nslot a,b = 1, 2 | 3, 4\n\
        topic t 3\n> hi\neither\n! call {}\nor\nend\n< bye\n";

    #[test]
    fn a_script_has_its_parts() {
        let script = Script::parse(SMALL).unwrap();
        assert_eq!((script.assistant, script.customers()), ("A", 3));
        let phones = [0, 1, 2, 3].map(|customer| script.phone(customer));
        let expected = [Some("+1 98"), Some("+1 99"), Some("+2 3"), None];
        assert_eq!(phones, expected.map(|phone| phone.map(str::to_owned)));
        assert_eq!(script.slots[0].values, [["1", "2"], ["3", "4"]]);
        let [Step::Customer("hi"), Step::Either(either), Step::Assistant("bye")] =
            &script.topics[0].block[..]
        else {
            panic!("{:?}", script.topics[0]);
        };
        assert_eq!((either.len(), either[1].len()), (2, 0));
    }

    #[test]
    fn an_error_names_its_line() {
        for (text, expected) in [
            ("weather 3", "in the line `weather 3`"),
            ("topic t 3\neither\n> hi", "in the line `topic t 3`"),
            ("slot a,b = 1", "in the line `slot a,b = 1`"),
            ("weight x", "in the line `weight x`"),
        ] {
            assert_eq!(Script::parse(text).unwrap_err().to_string(), expected);
        }
    }
}
