//! The particulars of an event about a seal, and how its counter stood.

use segel_drivers::{Action, AdvertRefusal, ReaderId, SealAdvert, SealId, SealRead, Security, codec::counter::Verdict};
use serde::Serialize;

use super::judge::Known;
use crate::{
    event::Assurance,
    seals::{SealSays, SealState},
};

/// The particulars of an event about a seal.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Body<'a> {
    pub(super) seal: &'a SealId,
    pub(super) reason: &'static str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub(super) changed: &'a [&'static str],
    pub(super) repeats: u64,
    pub(super) driver: &'static str,
    pub(super) reader: &'a ReaderId,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rssi_dbm: Option<i16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) counter: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) highest_counter: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) device_time_raw: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) refused_because: Option<AdvertRefusal>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) during: Option<Action>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) security: Option<Security>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) did_ours: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) state: Option<&'a SealState>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) claimed: Option<&'a SealSays>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) raw: Option<String>,
}

impl<'a> Body<'a> {
    pub(super) fn about(known: &Known, reader: &'a ReaderId, advert: &'a SealAdvert, standing: CounterStanding) -> Self {
        Self {
            address: Some(advert.address.to_string()),
            rssi_dbm: advert.rssi_dbm,
            counter: standing.counter,
            highest_counter: standing.high,
            device_time_raw: advert.reading.device_time,
            raw: Some(hex::encode(&advert.raw)),
            ..Self::bare(known, reader, &advert.seal, "", 0)
        }
    }

    pub(super) fn read(known: &Known, reader: &'a ReaderId, read: &'a SealRead) -> Self {
        Self {
            address: Some(read.address.to_string()),
            rssi_dbm: read.rssi_dbm,
            device_time_raw: read.status.reading.device_time,
            during: Some(read.during),
            security: Some(read.status.security),
            did_ours: read.status.did_ours,
            raw: Some(hex::encode(&read.status.raw)),
            ..Self::bare(known, reader, &read.seal, "", 0)
        }
    }

    /// The particulars of something this gate noticed or refused by itself.
    pub(super) fn bare(known: &Known, reader: &'a ReaderId, seal: &'a SealId, reason: &'static str, repeats: u64) -> Self {
        Self {
            seal,
            reason,
            changed: &[],
            repeats,
            driver: known.driver(reader),
            reader,
            address: None,
            rssi_dbm: None,
            counter: None,
            highest_counter: None,
            device_time_raw: None,
            refused_because: None,
            during: None,
            security: None,
            did_ours: None,
            state: None,
            claimed: None,
            raw: None,
        }
    }
}

/// How an advertisement's counter stands against the one on disk.
#[derive(Debug, Clone, Copy)]
pub(super) struct CounterStanding {
    pub(super) verdict: Option<Verdict>,
    pub(super) counter: Option<u32>,
    pub(super) high: Option<u32>,
}

impl CounterStanding {
    /// Whether this may be an old message played again. A repeat of one below the highest is as doubtful as the first time.
    pub(super) fn is_doubtful(self) -> bool {
        self.verdict.is_some_and(Verdict::is_doubtful) || self.counter < self.high
    }

    /// A first counter may itself be a replay, so it is only a claim until it has gone forward once.
    pub(super) fn assurance(self) -> Assurance {
        match self.verdict {
            Some(Verdict::Forward) => Assurance::Keyed,
            Some(Verdict::WentBack | Verdict::BelowHigh) => Assurance::Doubtful,
            Some(Verdict::First | Verdict::Repeat) | None => Assurance::Claim,
        }
    }
}
