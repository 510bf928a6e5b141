//! `segel passwd`: hashes a password for `[broker.users]`.

use std::io::{IsTerminal, Read};

use clap::Args;
use segel_mqtt_bridge::broker::hash_password;

use super::exit::Exit;
use crate::config::UserName;

/// Longest password, in bytes.
const PASSWORD_MAX: usize = 1_024;

/// Hash a password, read from standard input, for `[broker.users]`.
#[derive(Debug, Args)]
pub struct PasswdArgs {
    /// The monitor's user name, to print the whole line for the configuration.
    #[arg(value_name = "USER")]
    user: Option<String>,
}

/// Reads the password and prints its hash.
///
/// # Errors
/// When nothing, or too much, is read.
pub fn run(args: &PasswdArgs) -> anyhow::Result<Exit> {
    if std::io::stdin().is_terminal() {
        eprintln!("Type the password and end it with Enter and Ctrl-D (it is shown as you type; pipe it in to avoid that):");
    }
    let mut text = String::new();
    std::io::stdin().take(PASSWORD_MAX as u64 + 2).read_to_string(&mut text)?;
    let password = text.trim_end_matches(['\n', '\r']);
    anyhow::ensure!(!password.is_empty(), "no password was given: pipe it in, e.g. `pass show gate/monitor | segel passwd monitor`");
    anyhow::ensure!(password.len() <= PASSWORD_MAX, "the password is longer than {PASSWORD_MAX} bytes");
    let user = args.user.as_deref().map(str::parse::<UserName>).transpose()?;
    let hash = hash_password(password)?;
    match user {
        Some(user) => {
            eprintln!("Put this line under [broker.users]:");
            println!("{user} = \"{hash}\"");
        }
        None => println!("{hash}"),
    }
    Ok(Exit::Good)
}
