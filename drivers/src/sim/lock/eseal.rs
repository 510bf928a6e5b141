//! A simulated ESealBD container seal, after the published firmware: it knows one `rn` only, so a frame with another is
//! noise to it. (The real one does not look at the inner check and carries such noise out; this one passes it over.)

use super::{SimLock, SimPorts, Trick, trick::Moved};
use crate::{
    MacAddress,
    ble::air::{Payload, uuid16},
    codec::eseal::{
        DATA_LINE, FIRMWARE_RN, Inbox, Order, PUBLISHED_KEY, Rod, SERVICE, Safe, State, Turn, clear_frame, kind, open, sealed_frame,
    },
};

/// What one notification carries at the smallest ATT size, in bytes.
const PIECE: usize = 20;

/// A container seal.
#[derive(Debug, Clone)]
pub struct SimEseal {
    /// The address it advertises with.
    pub address: MacAddress,
    /// Its number.
    pub id: u32,
    /// Its key.
    pub key: u32,
    /// What is stored in it.
    pub stored: Vec<u8>,
    /// What it does wrong.
    pub trick: Trick,
    state: State,
    inbox: Inbox,
    before: Option<Vec<u8>>,
    value: Vec<u8>,
    openings: u32,
    closings: u32,
}

impl SimEseal {
    /// An unsealed seal with its rod in and the published key.
    #[must_use]
    pub fn new(address: MacAddress, id: u32) -> Self {
        let state = State { period_s: 60, window_s: 30, channel: 1, via: 1, power: 1, safe: Safe::Unsealed, rod: Rod::In, limits: [0; 9] };
        Self {
            address,
            id,
            key: PUBLISHED_KEY,
            stored: Vec::new(),
            trick: Trick::None,
            state,
            inbox: Inbox::default(),
            before: None,
            value: Vec::new(),
            openings: 0,
            closings: 0,
        }
    }

    /// It is sealed, or not, without being told over the air.
    pub fn stand(&mut self, safe: Safe) {
        self.state.safe = safe;
    }

    /// Somebody pulls the rod out: a sealed one was forced.
    pub fn pull_rod(&mut self) {
        self.state.rod = Rod::Out;
        if self.state.safe == Safe::Sealed {
            self.state.safe = Safe::ForcedOpen;
        }
    }

    /// How it stands.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    fn turn(&mut self, turn: Turn) {
        match turn {
            _ if self.trick == Trick::Refuses => {}
            Turn::Seal if self.state.rod == Rod::In => {
                self.closings += u32::from(self.state.safe != Safe::Sealed);
                self.state.safe = Safe::Sealed;
            }
            Turn::Seal => {}
            Turn::Unseal => {
                self.openings += u32::from(self.state.safe != Safe::Unsealed);
                self.state.safe = Safe::Unsealed;
            }
        }
    }

    fn frame(&self, kind: u16, content: &[u8]) -> Vec<u8> {
        sealed_frame(self.id, FIRMWARE_RN, self.key, kind, content)
    }

    fn on_order(&mut self, order: Order) -> Vec<Vec<u8>> {
        let moved = if matches!(order, Order::Operate(_)) { Moved::Told } else { Moved::No };
        let answer = match order {
            Order::GetId => clear_frame(kind::ID, &self.id.to_be_bytes()),
            Order::Query => self.frame(kind::STATE, &self.state.content(self.id)),
            Order::Operate(turn) => {
                self.turn(turn);
                self.frame(kind::STATE, &self.state.content(self.id))
            }
            Order::ReadStored { most } => {
                let bytes = &self.stored[..self.stored.len().min(usize::from(most)).min(256)];
                let length = u16::try_from(bytes.len()).expect("at most 256");
                self.frame(kind::STORED, &[&self.id.to_be_bytes()[..], &length.to_be_bytes(), bytes].concat())
            }
        };
        let out = self.trick.played(answer, moved, &mut self.before);
        out.iter().flat_map(|answer| answer.chunks(PIECE)).map(<[u8]>::to_vec).collect()
    }
}

impl SimLock for SimEseal {
    fn address(&self) -> MacAddress {
        self.address
    }

    fn name(&self) -> Option<String> {
        Some("ESealBD".to_owned())
    }

    fn ports(&self) -> SimPorts {
        SimPorts { service: uuid16(SERVICE), write: uuid16(DATA_LINE), notify: uuid16(DATA_LINE) }
    }

    fn advertise(&mut self) -> Vec<Payload> {
        vec![Payload::Bare]
    }

    fn connected(&mut self) {
        self.inbox.clear();
        self.before = None;
    }

    fn written(&mut self, bytes: &[u8]) -> Vec<Vec<u8>> {
        self.inbox.push(bytes);
        let mut out = Vec::new();
        while let Some(frame) = self.inbox.whole() {
            if self.trick == Trick::Silent {
                continue;
            }
            let opened = open(&frame, self.key).ok().filter(|opened| opened.envelope.is_none_or(|(_, rn)| rn == FIRMWARE_RN));
            if let Some(order) = opened.and_then(|opened| opened.order(self.id)) {
                out.extend(self.on_order(order));
            }
        }
        if let Some(last) = out.last() {
            self.value.clone_from(last);
        }
        out
    }

    fn value(&self) -> Vec<u8> {
        self.value.clone()
    }

    fn openings(&self) -> u32 {
        self.openings
    }

    fn closings(&self) -> u32 {
        self.closings
    }
}
