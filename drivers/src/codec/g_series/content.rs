//! What commands and answers contain, and what results mean.

use super::{GFault, PARAM_SEAL, QUERY, SET};
use crate::{LockClaim, Rejection};

/// What a result says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Done.
    Done,
    /// Refused.
    Refused(Rejection),
}

/// The meaning of a result, short or not.
#[must_use]
pub fn verdict(result: u8) -> Verdict {
    let other = |meaning| Verdict::Refused(Rejection::Other { code: result, meaning });
    match result {
        0 => Verdict::Done,
        1 => other("failed; it may have moved all the same"),
        2 => Verdict::Refused(Rejection::ShackleOut),
        4 => Verdict::Refused(Rejection::Stale),
        5 => other("it found the check wrong"),
        6 => other("other error"),
        17 => other("error; it may have moved all the same"),
        _ => other("a result nobody knows"),
    }
}

/// Whether locks have been seen to move in spite of this result. Their state is to be read 2 s later.
#[must_use]
pub fn may_have_moved(result: u8) -> bool {
    matches!(result, 1 | 17)
}

/// The content that seals or unseals.
#[must_use]
pub fn set_sealed(to: LockClaim) -> Vec<u8> {
    vec![1, PARAM_SEAL, 1, u8::from(to == LockClaim::Locked)]
}

/// The content that asks for a parameter.
#[must_use]
pub fn query(param: u8) -> Vec<u8> {
    vec![param]
}

/// A parameter and its value.
pub type Param = (u8, Vec<u8>);

/// Reads `count | (param | len | value)..`; zeros behind it are padding.
#[must_use]
pub fn params(content: &[u8]) -> Option<Vec<Param>> {
    let (&count, mut rest) = content.split_first()?;
    let mut params = Vec::new();
    for _ in 0..count {
        let [param, len, behind @ ..] = rest else { return None };
        let (value, behind) = behind.split_at_checked(usize::from(*len))?;
        params.push((*param, value.to_vec()));
        rest = behind;
    }
    rest.iter().all(|byte| *byte == 0).then_some(params)
}

/// The single result an answer may consist of.
fn single(content: &[u8]) -> Option<u8> {
    let (result, rest) = content.split_first()?;
    rest.iter().all(|byte| *byte == 0).then_some(*result)
}

/// The result of sealing or unsealing.
///
/// # Errors
/// [`GFault::Content`]: it says nothing of the seal.
pub fn set_answer(content: &[u8]) -> Result<u8, GFault> {
    if let Some(result) = single(content) {
        return Ok(result);
    }
    let fault = GFault::Content(SET);
    let (&count, rest) = content.split_first().ok_or(fault)?;
    let (results, padding) = rest.split_at_checked(2 * usize::from(count)).ok_or(fault)?;
    if padding.iter().any(|byte| *byte != 0) {
        return Err(fault);
    }
    results.chunks_exact(2).find(|result| result[0] == PARAM_SEAL).map(|result| result[1]).ok_or(fault)
}

/// What was answered to a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QueryAnswer {
    /// Not a value but a result.
    Refused(u8),
    /// Values.
    Values(Vec<Param>),
}

/// Reads the answer to a question.
///
/// # Errors
/// [`GFault::Content`].
pub fn query_answer(content: &[u8]) -> Result<QueryAnswer, GFault> {
    match single(content) {
        Some(0) => Ok(QueryAnswer::Values(Vec::new())),
        Some(result) => Ok(QueryAnswer::Refused(result)),
        None => params(content).map(QueryAnswer::Values).ok_or(GFault::Content(QUERY)),
    }
}
