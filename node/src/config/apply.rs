//! Settings in the terms of the parts that read them.

use greenwich_proto::netem::LinkProfile;
use greenwich_proto::peer::{self, WindowLimits};
use greenwich_replicator::HorizonLimits;
use greenwich_replicator::certs::CertificateFiles;
use greenwich_replicator::compression;
use greenwich_replicator::transport::{self, TransportConfig};

use super::{Client, Compression, Congestion, Emulation, Replication};
use crate::resp;

impl Client {
    /// Bounds on one request.
    pub fn request_limits(&self) -> resp::Limits {
        resp::Limits {
            bulk_bytes_max: self.max_value_size.as_usize(),
            request_bytes_max: u32::try_from(self.query_buffer_limit.0).unwrap_or(u32::MAX),
            ..resp::Limits::default()
        }
    }

    /// Threads that serve clients: as configured, or one a core, less one for replication, which otherwise preempts them.
    pub fn thread_count(&self) -> usize {
        match self.threads {
            0 => std::thread::available_parallelism().map_or(1, |cores| (cores.get() - 1).max(1)),
            count => count,
        }
    }
}

impl Replication {
    /// Limits and intervals of the session with each peer.
    pub fn session_limits(&self) -> peer::Limits {
        peer::Limits {
            batch_bytes: self.batch_limit.as_usize(),
            flush_interval: self.flush_interval.0,
            window: WindowLimits {
                min_bytes: self.in_flight_min.0,
                max_bytes: self.in_flight_max.0,
            },
            ..peer::Limits::default()
        }
    }

    /// How long regions that are away are waited for.
    pub const fn horizon(&self) -> HorizonLimits {
        HorizonLimits {
            absence: self.horizon.0,
            husk_bytes: self.horizon_bytes.0,
        }
    }

    /// Settings of QUIC.
    pub fn transport(&self) -> TransportConfig {
        let congestion = match self.congestion {
            Congestion::Steady => transport::Congestion::Steady,
            Congestion::Cubic => transport::Congestion::Cubic,
        };
        TransportConfig {
            congestion,
            ..TransportConfig::default()
        }
    }

    /// What is done to batches.
    pub const fn compression(&self) -> compression::Compression {
        match self.compression {
            Compression::None => compression::Compression::None,
            Compression::Zstd => compression::Compression::Zstd,
        }
    }

    /// Where this node's credentials are.
    pub fn certificate_files(&self) -> CertificateFiles {
        CertificateFiles {
            ca: self.ca.clone(),
            certificate: self.cert.clone(),
            key: self.key.clone(),
        }
    }
}

impl Emulation {
    /// The impairment of what this node sends.
    pub fn profile(&self) -> LinkProfile {
        let micros =
            |period: super::Period| u64::try_from(period.0.as_micros()).unwrap_or(u64::MAX);
        LinkProfile {
            delay_us: micros(self.delay),
            jitter_us: micros(self.jitter),
            loss: self.loss.0,
            rate_bytes_per_s: self.rate.map(super::BitRate::bytes_per_second),
            ..LinkProfile::NONE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{BitRate, Bytes, Config, Percent, Period};

    #[test]
    fn settings_reach_the_parts_that_read_them() {
        let mut config = Config::example("a", 1);
        config.client.max_value_size = Bytes::mib(1);
        config.client.query_buffer_limit = Bytes::mib(2);
        config.client.threads = 3;
        config.replication.in_flight_max = Bytes::mib(9);
        config.replication.congestion = Congestion::Cubic;
        config.replication.compression = Compression::Zstd;
        let limits = config.client.request_limits();
        assert_eq!(
            (limits.bulk_bytes_max, limits.request_bytes_max),
            (1 << 20, 2 << 20)
        );
        assert_eq!(config.client.thread_count(), 3);
        assert_eq!(
            config.replication.session_limits().window.max_bytes,
            9 << 20
        );
        assert_eq!(
            config.replication.transport().congestion,
            transport::Congestion::Cubic
        );
        assert_eq!(
            config.replication.compression(),
            compression::Compression::Zstd
        );
        let link = Emulation {
            peer: "b".into(),
            delay: Period::millis(40),
            jitter: Period::millis(2),
            loss: Percent(0.01),
            rate: Some(BitRate(8_000)),
        };
        let profile = link.profile();
        assert_eq!((profile.delay_us, profile.jitter_us), (40_000, 2_000));
        assert_eq!(
            (profile.loss, profile.rate_bytes_per_s),
            (0.01, Some(1_000))
        );
    }

    #[test]
    fn the_defaults_of_the_core_are_the_defaults_here() {
        let config = Config::example("a", 1);
        assert_eq!(config.client.request_limits(), resp::Limits::default());
        assert_eq!(config.replication.session_limits(), peer::Limits::default());
        assert_eq!(config.replication.transport(), TransportConfig::default());
        assert_eq!(
            config.replication.compression(),
            compression::Compression::default()
        );
    }
}
