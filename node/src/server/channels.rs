//! Pub/sub inside the region: who is subscribed to which channels and patterns.
//!
//! Messages are encoded once per protocol version and appended to the outbox of every subscriber; what a full outbox
//! means is the subscriber's own business.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use dashmap::DashMap;

use crate::{
    client::{Client, Handle},
    command::glob,
    resp::{Reply, Version},
};

/// Channels and patterns with their subscribers. One without subscribers is not there.
#[derive(Debug, Default)]
pub struct Channels {
    channels: Topics,
    patterns: Topics,
}

type Topics = DashMap<Box<[u8]>, HashMap<u64, Arc<Handle>>>;

/// Channels by name, or by pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topic {
    /// By name.
    Channel,
    /// By pattern.
    Pattern,
}

impl Channels {
    fn topics(&self, topic: Topic) -> &Topics {
        match topic {
            Topic::Channel => &self.channels,
            Topic::Pattern => &self.patterns,
        }
    }

    /// Subscribes a client. Does nothing when it is subscribed.
    pub fn subscribe(&self, topic: Topic, name: &[u8], handle: &Arc<Handle>) {
        self.topics(topic)
            .entry(name.into())
            .or_default()
            .insert(handle.id, Arc::clone(handle));
    }

    /// Ends a subscription. No message that comes by it is delivered afterwards.
    pub fn unsubscribe(&self, topic: Topic, name: &[u8], id: u64) {
        self.topics(topic).remove_if_mut(name, |_, subscribers| {
            subscribers.remove(&id);
            subscribers.is_empty()
        });
    }

    /// Delivers a message to every subscriber and returns how many times. What `publisher` itself gets goes straight
    /// to `own`, in front of its reply.
    pub fn publish(
        &self,
        channel: &[u8],
        message: &[u8],
        publisher: &Client,
        own: &mut Reply,
    ) -> usize {
        let mut delivered = 0;
        let mut deliver = |subscribers: &HashMap<u64, Arc<Handle>>, encode: &dyn Fn(&mut Reply)| {
            let mut encoded = [None, None];
            for handle in subscribers.values() {
                let is_resp3 = handle.is_resp3.load(Relaxed);
                let message: &Reply = encoded[usize::from(is_resp3)].get_or_insert_with(|| {
                    let mut reply = Reply::new(if is_resp3 {
                        Version::Resp3
                    } else {
                        Version::Resp2
                    });
                    encode(&mut reply);
                    reply
                });
                // Inside EXEC, a push would fall between the replies of an array.
                if handle.id == publisher.handle.id && !publisher.is_executing {
                    own.raw(message.as_bytes());
                } else {
                    handle.deliver(message.as_bytes());
                }
                delivered += 1;
            }
        };
        if let Some(subscribers) = self.channels.get(channel) {
            deliver(&subscribers, &|reply| {
                reply.push(3);
                for part in [b"message", channel, message] {
                    reply.bulk(part);
                }
            });
        }
        if !self.patterns.is_empty() {
            for topic in self
                .patterns
                .iter()
                .filter(|topic| glob::matches(topic.key(), channel, glob::Case::Sensitive))
            {
                deliver(topic.value(), &|reply| {
                    reply.push(4);
                    for part in [b"pmessage", &**topic.key(), channel, message] {
                        reply.bulk(part);
                    }
                });
            }
        }
        delivered
    }

    /// The channels that somebody is subscribed to by name, and that match.
    #[must_use]
    pub fn names(&self, pattern: Option<&[u8]>) -> Vec<Box<[u8]>> {
        let matches = |name: &[u8]| {
            pattern.is_none_or(|pattern| glob::matches(pattern, name, glob::Case::Sensitive))
        };
        self.channels
            .iter()
            .filter(|topic| matches(topic.key()))
            .map(|topic| topic.key().clone())
            .collect()
    }

    /// How many clients are subscribed to a channel by name.
    #[must_use]
    pub fn subscriber_count(&self, name: &[u8]) -> usize {
        self.channels
            .get(name)
            .map_or(0, |subscribers| subscribers.len())
    }

    /// How many channels somebody is subscribed to by name, and how many patterns.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        (self.channels.len(), self.patterns.len())
    }
}
