//! Who may listen: names and password hashes (Argon2id, PHC strings).
//!
//! Cost: 7 MiB of memory and 5 passes, the smallest setting the OWASP password storage cheat sheet lists, because the
//! whole daemon has some 30 MB; never more than one check at a time, off the event loop, so that 7 MiB is the total.
//! A hash that asks for more than 19 MiB (OWASP's largest) is refused when it is read, not when it is used.
//!
//! An unknown name costs the same as a wrong password: it is checked against somebody's hash and refused whatever comes out.

use std::collections::HashMap;
use std::sync::Arc;

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use tokio::sync::Semaphore;

/// Memory for one hash in KiB, passes, lanes; see the head of this file.
const COST: (u32, u32, u32) = (7 * 1024, 5, 1);
/// The most a hash may ask for: memory in KiB, passes, lanes.
const MOST: (u32, u32, u32) = (19 * 1024, 10, 4);
/// Users at one gate; each takes some 200 bytes.
const MAX_USERS: usize = 256;
/// Longest password checked, in bytes; longer ones are simply wrong.
const MAX_PASSWORD: usize = 256;

/// Why users cannot be set up; each says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UsersError {
    /// Nobody at all.
    #[error("no users given; name at least one, or open the broker to anyone on this machine only")]
    Nobody,
    /// Too many.
    #[error("more than {MAX_USERS} users; remove some")]
    TooMany,
    /// A name is empty or too long.
    #[error("a user's name is empty or longer than 64 bytes; give each a short name")]
    Name,
    /// The same name twice.
    #[error("the user {0:?} is given twice; remove one")]
    Twice(String),
    /// A hash cannot be read.
    #[error("the password hash of {0:?} is not an Argon2id PHC string ($argon2id$v=19$...); make a new one")]
    Hash(String),
    /// A hash costs too much to check here.
    #[error("the password hash of {0:?} asks for more than 19 MiB, 10 passes or 4 lanes; make a new one")]
    Cost(String),
    /// A new password cannot be hashed.
    #[error("this password cannot be hashed; use 1 to {MAX_PASSWORD} bytes, and see that the system has randomness")]
    Password,
}

/// A new password as a PHC string; takes some tens of milliseconds and 7 MiB. Errs for a password that is empty or too long.
pub fn hash_password(password: &str) -> Result<String, UsersError> {
    if password.is_empty() || password.len() > MAX_PASSWORD {
        return Err(UsersError::Password);
    }
    let params = Params::new(COST.0, COST.1, COST.2, None).expect("within the bounds of Argon2");
    let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    argon.hash_password(password.as_bytes()).map(|hash| hash.to_string()).map_err(|_| UsersError::Password)
}

/// The users of a broker; clones share everything.
#[derive(Clone)]
pub struct Users {
    hashes: Arc<HashMap<String, PasswordHash>>,
    turn: Arc<Semaphore>,
}

impl std::fmt::Debug for Users {
    /// Names only; hashes do not belong in logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.hashes.keys()).finish()
    }
}

impl Users {
    /// Users from pairs of name and PHC string; errs on the first that cannot be used.
    pub fn new(pairs: impl IntoIterator<Item = (String, String)>) -> Result<Users, UsersError> {
        let mut hashes = HashMap::new();
        for (name, text) in pairs {
            if name.is_empty() || name.len() > 64 {
                return Err(UsersError::Name);
            }
            let hash = PasswordHash::new(&text).map_err(|_| UsersError::Hash(name.clone()))?;
            check(&name, &hash)?;
            if hashes.insert(name.clone(), hash).is_some() {
                return Err(UsersError::Twice(name));
            }
            if hashes.len() > MAX_USERS {
                return Err(UsersError::TooMany);
            }
        }
        if hashes.is_empty() {
            return Err(UsersError::Nobody);
        }
        Ok(Users { hashes: Arc::new(hashes), turn: Arc::new(Semaphore::new(1)) })
    }

    /// Is this the user's password? Waits its turn; the work is done on a thread of its own.
    pub(super) async fn verify(&self, name: &str, password: &str) -> bool {
        let Ok(turn) = Arc::clone(&self.turn).acquire_owned().await else { return false };
        let known = self.hashes.get(name);
        let Some(hash) = known.or_else(|| self.hashes.values().next()).cloned() else { return false };
        let known = known.is_some();
        let fits = password.len() <= MAX_PASSWORD;
        let password = if fits { password.to_owned() } else { String::new() };
        let right = tokio::task::spawn_blocking(move || {
            // held here, not by the caller: a caller that gives up must not let a second hash run beside this one
            let _turn = turn;
            Argon2::default().verify_password(password.as_bytes(), &hash).is_ok()
        });
        right.await.unwrap_or(false) && known && fits
    }
}

fn check(name: &str, hash: &PasswordHash) -> Result<(), UsersError> {
    let wrong = || UsersError::Hash(name.to_owned());
    if hash.algorithm.as_str() != "argon2id" || hash.salt.is_none() || hash.hash.is_none() {
        return Err(wrong());
    }
    let params = Params::try_from(hash).map_err(|_| wrong())?;
    if params.m_cost() > MOST.0 || params.t_cost() > MOST.1 || params.p_cost() > MOST.2 {
        return Err(UsersError::Cost(name.to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A hash that is quick to check, for tests only.
    fn quick(password: &str) -> String {
        let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(8, 1, 1, None).unwrap());
        argon.hash_password(password.as_bytes()).unwrap().to_string()
    }

    fn pair(name: &str, hash: String) -> (String, String) {
        (name.to_owned(), hash)
    }

    #[tokio::test]
    async fn only_the_right_password_of_a_known_user_passes() {
        let users = Users::new([pair("ops", quick("right")), pair("guest", quick("other"))]).unwrap();
        assert!(users.verify("ops", "right").await);
        assert!(users.verify("guest", "other").await);
        for (name, password) in [("ops", "other"), ("ops", ""), ("nobody", "right"), ("nobody", "other"), ("", "")] {
            assert!(!users.verify(name, password).await, "{name} {password}");
        }
        assert!(!users.verify("ops", &"x".repeat(5000)).await);
    }

    #[tokio::test]
    async fn a_hash_made_here_is_accepted_here() {
        let hash = hash_password("segel").unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=7168,t=5,p=1$"), "{hash}");
        assert!(Users::new([pair("ops", hash)]).unwrap().verify("ops", "segel").await);
        assert_eq!(hash_password(""), Err(UsersError::Password));
    }

    #[test]
    fn hashes_that_cannot_be_used_are_refused_when_read() {
        let users = |pairs: &[(&str, &str)]| Users::new(pairs.iter().map(|(n, h)| ((*n).to_owned(), (*h).to_owned()))).unwrap_err();
        let good = quick("x");
        assert_eq!(users(&[]), UsersError::Nobody);
        assert_eq!(users(&[("", &good)]), UsersError::Name);
        assert_eq!(users(&[("a", &good), ("a", &good)]), UsersError::Twice("a".to_owned()));
        assert_eq!(users(&[("a", "plain text")]), UsersError::Hash("a".to_owned()));
        assert_eq!(users(&[("a", &good.replace("argon2id", "argon2i"))]), UsersError::Hash("a".to_owned()));
        assert_eq!(users(&[("a", &good.replace("m=8,", "m=900000,"))]), UsersError::Cost("a".to_owned()));
        assert_eq!(users(&[("a", &good.replace("t=1,", "t=99,"))]), UsersError::Cost("a".to_owned()));
    }
}
