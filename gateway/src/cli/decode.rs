//! `segel decode`: what one captured frame says, byte by byte, or why it is wrong.
//!
//! For whoever adds a seal or a reader and has a capture in hand. The verdict is the driver's own: the same code that
//! hears seals at the gate reads the frame. The table beside it shows what each byte is, up to the fault where there is
//! one.
//!
//! Keys and passwords go in and never come out: a password that stands in a frame is shown as stars, and whether it is
//! the one that was given.

mod bthome;
mod eddystone;
mod eseal;
mod g;
mod input;
mod names;
mod nokelock;
mod segel;
mod table;
mod tt;
mod uhf;

use std::{
    io::{self, Read as _, Write as _},
    path::PathBuf,
    str::FromStr,
};

use clap::Args;
use segel_drivers::{MacAddress, Password, SealKey};

pub use input::InputFault;
use table::Dissection;

use super::{check::Form, exit::Exit};

/// Where a key may be put so that it stands in no command line.
const KEY_VARIABLE: &str = "SEGEL_DECODE_KEY";
/// Where a password may be put so that it stands in no command line.
const PASSWORD_VARIABLE: &str = "SEGEL_DECODE_PASSWORD";

/// How many letters a protocol may be mistyped by to be suggested.
const NEAR: usize = 3;

/// What is to be read.
#[derive(Debug, Clone, Args)]
#[command(after_help = "A key on the command line is seen by everybody on this machine: put it into SEGEL_DECODE_KEY or --key-file,\n\
                        and a password into SEGEL_DECODE_PASSWORD.\n\n\
                        Exit codes: 0 the frame is good, 1 it is wrong, 2 the command line is.")]
pub struct DecodeArgs {
    /// What it is written in: bthome, tt, g, nokelock, eseal, segel, eddystone or uhf
    #[arg(value_name = "PROTOCOL")]
    protocol: Tongue,
    /// The bytes in hex; spaces, colons, commas and 0x are passed over. `-` reads them from standard input
    #[arg(value_name = "HEX", required_unless_present = "file")]
    hex: Vec<String>,
    /// Read the hex from a file; what follows a # is passed over
    #[arg(long, value_name = "FILE", conflicts_with = "hex")]
    file: Option<PathBuf>,
    /// The seal's key in hex: 32 digits, for eseal 8
    #[arg(long, value_name = "HEX", conflicts_with = "key_file", value_parser = input::secret)]
    key: Option<input::Secret>,
    /// Read the key from a file
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// The seal's address, which an encrypted bthome frame is bound to
    #[arg(long, value_name = "MAC")]
    address: Option<MacAddress>,
    /// The number the seal calls itself by, which a segel frame is bound to, e.g. SGL-1003
    #[arg(long, value_name = "NUMBER")]
    number: Option<String>,
    /// The seal's password, to be told whether the one in the frame is it
    #[arg(long, value_name = "TEXT", value_parser = input::secret)]
    password: Option<input::Secret>,
    /// Write one JSON document
    #[arg(long)]
    json: bool,
}

/// What frames can be written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tongue {
    Bthome,
    Tt,
    G,
    NokeLock,
    Eseal,
    Segel,
    Eddystone,
    Uhf,
}

impl Tongue {
    const ALL: [Self; 8] = [Self::Bthome, Self::Tt, Self::G, Self::NokeLock, Self::Eseal, Self::Segel, Self::Eddystone, Self::Uhf];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Bthome => "bthome",
            Self::Tt => "tt",
            Self::G => "g",
            Self::NokeLock => "nokelock",
            Self::Eseal => "eseal",
            Self::Segel => "segel",
            Self::Eddystone => "eddystone",
            Self::Uhf => "uhf",
        }
    }
}

impl FromStr for Tongue {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        let plain = word.to_lowercase();
        if let Some(found) = Self::ALL.into_iter().find(|tongue| tongue.as_str() == plain) {
            return Ok(found);
        }
        let all = Self::ALL.map(Self::as_str);
        let near = all.into_iter().map(|known| (strsim::damerau_levenshtein(&plain, known), known)).min();
        let meant = near.filter(|(distance, _)| *distance <= NEAR.min(plain.len() / 2));
        let meant = meant.map_or_else(String::new, |(_, near)| format!("did you mean {near}? "));
        Err(format!("no such protocol: {meant}known are {}", all.join(", ")))
    }
}

/// What goes with a frame.
#[derive(Debug, Clone, Default)]
struct Given {
    key: Option<SealKey>,
    address: Option<MacAddress>,
    number: Option<String>,
    password: Option<Password>,
}

/// Reads the frame and says what it is.
///
/// # Errors
/// When standard output cannot be written.
pub fn run(args: &DecodeArgs) -> io::Result<Exit> {
    let (text, exit) = match read(args) {
        Ok((bytes, given)) => report(args.protocol, &bytes, &given, if args.json { Form::Json } else { Form::Text }),
        Err(fault) => {
            eprintln!("segel: {fault}");
            return Ok(Exit::Usage);
        }
    };
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(exit)
}

/// The frame's bytes and what goes with it.
fn read(args: &DecodeArgs) -> Result<(Vec<u8>, Given), InputFault> {
    let unread = |name: &str, cause: io::Error| InputFault::Unread { name: name.to_owned(), cause: cause.to_string() };
    let text = match (&args.file, args.hex.as_slice()) {
        (Some(path), _) => input::uncommented(&input::file(path)?),
        (None, [dash]) if dash == "-" => {
            let mut text = String::new();
            io::stdin().take(input::TEXT_MAX + 1).read_to_string(&mut text).map_err(|cause| unread("standard input", cause))?;
            input::uncommented(&text)
        }
        (None, words) => words.join(" "),
    };
    let bytes = input::bytes(&text)?;
    let from_process = |variable: &'static str| std::env::var(variable).ok().filter(|text| !text.is_empty()).map(input::Secret::new);
    let key = match (&args.key, &args.key_file) {
        (Some(key), _) => Some(key.clone()),
        (None, Some(path)) => Some(input::Secret::new(input::file(path)?)),
        (None, None) => from_process(KEY_VARIABLE),
    };
    let short = if args.protocol == Tongue::Eseal { input::ShortKey::Allowed } else { input::ShortKey::No };
    let key = key.map(|key| input::key(&key, short)).transpose()?;
    let password = args.password.clone().or_else(|| from_process(PASSWORD_VARIABLE));
    let password = password.map(|password| password.text().trim().parse().map_err(|_| InputFault::Password)).transpose()?;
    Ok((bytes, Given { key, address: args.address, number: args.number.clone(), password }))
}

/// What is printed, ending with a line feed, and the code to exit with: [`Exit::Good`] or [`Exit::Other`].
fn report(tongue: Tongue, bytes: &[u8], given: &Given, form: Form) -> (String, Exit) {
    let dissection: Dissection = match tongue {
        Tongue::Bthome => bthome::dissect(bytes, given),
        Tongue::Tt => tt::dissect(bytes, given),
        Tongue::G => g::dissect(bytes, given),
        Tongue::NokeLock => nokelock::dissect(bytes, given),
        Tongue::Eseal => eseal::dissect(bytes, given),
        Tongue::Segel => segel::dissect(bytes, given),
        Tongue::Eddystone => eddystone::dissect(bytes),
        Tongue::Uhf => uhf::dissect(bytes),
    };
    let exit = if dissection.fault.is_none() { Exit::Good } else { Exit::Other };
    let text = match form {
        Form::Text => dissection.text(tongue.as_str(), bytes.len()),
        Form::Json => dissection.json(tongue.as_str(), bytes.len()),
    };
    (text, exit)
}

#[cfg(test)]
mod tests;
