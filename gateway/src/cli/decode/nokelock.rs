//! NokeLock / Oklok: blocks, encrypted or already in clear.

use segel_drivers::{
    SealKey,
    codec::nokelock::{self, Answer, Command, FRAME_LEN, MODEL_KEYS, NokeFault, PASSWORD_LEN, Shackle},
};

use super::{
    Given,
    table::{Dissection, Fault, Knife, Part},
};

/// What a block in clear is.
enum Block {
    To(Command),
    From(Answer),
}

impl Block {
    fn read(plain: &[u8; FRAME_LEN]) -> Result<Self, NokeFault> {
        match (Command::read(plain), Answer::read_plain(plain)) {
            (Some(command), _) => Ok(Self::To(command)),
            (None, answer) => answer.map(Self::From),
        }
    }
}

pub(super) fn dissect(bytes: &[u8], given: &Given) -> Dissection {
    let mut done = Dissection::default();
    let Ok(frame) = <[u8; FRAME_LEN]>::try_from(bytes) else {
        done.parts.push(Knife::new("frame", bytes).end("not one block"));
        done.fault = Some(Fault::new(NokeFault::Length(bytes.len()).to_string()).at(bytes.len().min(FRAME_LEN)));
        return done;
    };
    if given.key.is_none()
        && let Ok(block) = Block::read(&frame)
    {
        done.notes.push("It is in clear: on the air it is encrypted.".to_owned());
        done.parts.push(fields("block in clear", &frame, &block, given, &mut done.says));
        return done;
    }
    let models = || MODEL_KEYS.iter().map(|(_, key)| SealKey::new(*key)).collect();
    let keys: Vec<SealKey> = given.key.clone().map_or_else(models, |key| vec![key]);
    let mut fault = None;
    for key in &keys {
        let plain = nokelock::open(&frame, key).expect("it is one block");
        match Block::read(&plain) {
            Ok(block) => {
                done.parts.push(Knife::new("frame", bytes).end("one block, AES-128-ECB"));
                done.parts.push(fields("decrypted", &plain, &block, given, &mut done.says));
                if let Some(name) = nokelock::model_of(key) {
                    done.notes
                        .push(format!("It is under the key all locks of the {name} model share: anybody can read and write such frames."));
                }
                return done;
            }
            Err(why) => fault = Some(why),
        }
    }
    done.parts.push(Knife::new("frame", bytes).end("one block, not decrypted"));
    done.fault = Some(match (fault, &given.key) {
        (Some(why), Some(_)) => {
            Fault::new(why.to_string()).remedy("Look at the key, and that the bytes are one whole write or notification.")
        }
        _ => Fault::new("under none of the keys that models share does it say anything")
            .remedy("Give the lock's own key (SEGEL_DECODE_KEY or --key-file)."),
    });
    done
}

fn fields(part: &'static str, plain: &[u8; FRAME_LEN], block: &Block, given: &Given, says: &mut Vec<String>) -> Part {
    let mut knife = Knife::new(part, plain);
    let mut head = |knife: &mut Knife<'_>, name: &str, said: &str| {
        knife.cut(2, name);
        knife.cut(1, format!("length of the content: {}", plain[2]));
        says.push(said.to_owned());
    };
    match block {
        Block::To(Command::Token { .. }) => {
            head(&mut knife, "to the lock: token", "To the lock: give me a token.");
            knife.cut(1, "always 01");
            knife.end("anything")
        }
        Block::To(Command::Unlock { password, .. }) => {
            head(&mut knife, "to the lock: unlock", "To the lock: open.");
            knife.hide(PASSWORD_LEN, super::table::password(password, given.password.as_ref()));
            knife.cut(4, "token of this connection");
            knife.end("anything")
        }
        Block::To(command @ (Command::Status { .. } | Command::Battery { .. })) => {
            let status = matches!(command, Command::Status { .. });
            let (name, said) = if status {
                ("to the lock: status", "To the lock: how do you stand?")
            } else {
                ("to the lock: battery", "To the lock: how full is your battery?")
            };
            head(&mut knife, name, said);
            knife.cut(1, "always 01");
            knife.cut(4, "token of this connection");
            knife.end("anything")
        }
        Block::From(answer) => {
            answered(&mut knife, *answer, &mut head);
            knife.end("not used")
        }
    }
}

fn answered(knife: &mut Knife<'_>, answer: Answer, head: &mut impl FnMut(&mut Knife<'_>, &str, &str)) {
    match answer {
        Answer::Token { version: (major, minor), chip, .. } => {
            head(knife, "from the lock: token", "From the lock: a token for this connection.");
            knife.cut(4, "token");
            knife.cut(1, format!("chip {chip}"));
            knife.cut(2, format!("firmware {major}.{minor}"));
        }
        Answer::Opened => {
            head(knife, "from the lock: unlock", "From the lock: it opened.");
            knife.cut(1, "done");
        }
        Answer::NotOpened { code } => {
            head(knife, "from the lock: unlock", "From the lock: it did not open.");
            knife.cut(1, format!("refused, code {code}"));
        }
        Answer::Status { shackle, code } => {
            let (said, word) = match shackle {
                Shackle::Closed => ("From the lock: it is closed.", "closed"),
                Shackle::Open => ("From the lock: it is open.", "open"),
            };
            head(knife, "from the lock: status", said);
            knife.cut(1, format!("{word}, code {code}"));
        }
        Answer::Battery { percent } => {
            head(knife, "from the lock: battery", "From the lock: its battery.");
            knife.cut(1, percent.map_or_else(|| "not measured".to_owned(), |percent| format!("{percent} %")));
        }
        Answer::ClosedByHand => {
            head(knife, "from the lock, unasked", "From the lock, unasked: it was closed by hand.");
            knife.cut(1, "closed");
        }
        Answer::NotClosed { code } => {
            head(knife, "from the lock, unasked", "From the lock, unasked: somebody tried to close it and it did not close.");
            knife.cut(1, format!("not closed, code {code}"));
        }
    }
}
