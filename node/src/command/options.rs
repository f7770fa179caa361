//! The options of SET, GETEX, EXPIRE and LCS as typed values. Knows the rules of redis-server 7.0 about which of them fit
//! together; knows no keys.

use super::{
    CommandError,
    parse::{TimeForm, integer},
};

/// What SET and GETEX do with the deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expiry<'a> {
    /// No option was given.
    Unsaid,
    /// KEEPTTL.
    Keep,
    /// PERSIST.
    Drop,
    /// EX, PX, EXAT or PXAT, and its argument as it was sent.
    At(TimeForm, &'a [u8]),
}

/// Whether there must be a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    /// XX.
    Exists,
    /// NX.
    Absent,
}

/// Whose options are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OptionsOf {
    Set,
    Getex,
}

/// The options of SET and GETEX.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ValueOptions<'a> {
    pub(super) condition: Option<Condition>,
    pub(super) returns_old: bool,
    pub(super) expiry: Expiry<'a>,
}

impl<'a> ValueOptions<'a> {
    /// Reads the arguments that follow the key, or the value.
    pub(super) fn parse(
        mut options: impl Iterator<Item = &'a [u8]>,
        of: OptionsOf,
    ) -> Result<Self, CommandError> {
        let is_set = of == OptionsOf::Set;
        let mut parsed = Self {
            condition: None,
            returns_old: false,
            expiry: Expiry::Unsaid,
        };
        while let Some(option) = options.next() {
            if is_set && parsed.take_condition(option) {
                continue;
            }
            if is_set && option.eq_ignore_ascii_case(b"get") {
                parsed.returns_old = true;
            } else if let Some(form) = time_form(option) {
                let time = options.next().ok_or(CommandError::Syntax)?;
                parsed.take_expiry(Expiry::At(form, time))?;
            } else if is_set && option.eq_ignore_ascii_case(b"keepttl") {
                parsed.take_expiry(Expiry::Keep)?;
            } else if !is_set && option.eq_ignore_ascii_case(b"persist") {
                parsed.take_expiry(Expiry::Drop)?;
            } else {
                return Err(CommandError::Syntax);
            }
        }
        Ok(parsed)
    }

    /// NX and XX may be repeated but exclude each other: the second one is then an unknown option.
    fn take_condition(&mut self, option: &[u8]) -> bool {
        let condition = if option.eq_ignore_ascii_case(b"nx") {
            Condition::Absent
        } else if option.eq_ignore_ascii_case(b"xx") {
            Condition::Exists
        } else {
            return false;
        };
        let fits = self.condition.is_none_or(|before| before == condition);
        if fits {
            self.condition = Some(condition);
        }
        fits
    }

    /// The last of several counts, if all are the same option.
    fn take_expiry(&mut self, expiry: Expiry<'a>) -> Result<(), CommandError> {
        let fits = match (self.expiry, expiry) {
            (Expiry::Unsaid, _) | (Expiry::Keep, Expiry::Keep) | (Expiry::Drop, Expiry::Drop) => {
                true
            }
            (Expiry::At(before, _), Expiry::At(form, _)) => before == form,
            (Expiry::Keep | Expiry::Drop | Expiry::At(..), _) => false,
        };
        self.expiry = expiry;
        if fits {
            Ok(())
        } else {
            Err(CommandError::Syntax)
        }
    }
}

fn time_form(option: &[u8]) -> Option<TimeForm> {
    let forms: [(&[u8], TimeForm); 4] = [
        (b"ex", TimeForm::Seconds),
        (b"px", TimeForm::Millis),
        (b"exat", TimeForm::UnixSeconds),
        (b"pxat", TimeForm::UnixMillis),
    ];
    forms
        .into_iter()
        .find(|(name, _)| option.eq_ignore_ascii_case(name))
        .map(|(_, form)| form)
}

/// The conditions of EXPIRE and its kin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ExpireOptions {
    /// NX: there is no deadline.
    pub(super) absent: bool,
    /// XX: there is one.
    pub(super) present: bool,
    /// GT: it is earlier than the new one. None at all is infinitely late.
    pub(super) later: bool,
    /// LT: it is later than the new one.
    pub(super) earlier: bool,
}

impl ExpireOptions {
    /// Reads the arguments that follow the time.
    pub(super) fn parse<'a>(options: impl Iterator<Item = &'a [u8]>) -> Result<Self, CommandError> {
        let mut parsed = Self::default();
        for option in options {
            match option.to_ascii_lowercase().as_slice() {
                b"nx" => parsed.absent = true,
                b"xx" => parsed.present = true,
                b"gt" => parsed.later = true,
                b"lt" => parsed.earlier = true,
                _ => return Err(CommandError::quoted("ERR Unsupported option ", option, "")),
            }
        }
        if parsed.absent && (parsed.present || parsed.later || parsed.earlier) {
            return Err(CommandError::text(
                "ERR NX and XX, GT or LT options at the same time are not compatible",
            ));
        }
        if parsed.later && parsed.earlier {
            return Err(CommandError::text(
                "ERR GT and LT options at the same time are not compatible",
            ));
        }
        Ok(parsed)
    }

    /// Whether a deadline may be replaced. Both are milliseconds since the Unix epoch.
    pub(super) fn allow(self, current: Option<i64>, new: i64) -> bool {
        let Some(current) = current else {
            return !self.present && !self.later;
        };
        !self.absent && (!self.later || new > current) && (!self.earlier || new < current)
    }
}

/// The options of LCS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct LcsOptions {
    /// LEN: the length is the reply.
    pub(super) length: bool,
    /// IDX: the positions are the reply.
    pub(super) positions: bool,
    /// WITHMATCHLEN: each with its length.
    pub(super) with_lengths: bool,
    /// MINMATCHLEN: shorter ones are left out.
    pub(super) length_min: u64,
}

impl LcsOptions {
    /// Reads the arguments that follow the keys.
    pub(super) fn parse<'a>(
        mut options: impl Iterator<Item = &'a [u8]>,
    ) -> Result<Self, CommandError> {
        let mut parsed = Self::default();
        while let Some(option) = options.next() {
            match option.to_ascii_lowercase().as_slice() {
                b"len" => parsed.length = true,
                b"idx" => parsed.positions = true,
                b"withmatchlen" => parsed.with_lengths = true,
                b"minmatchlen" => {
                    let length_min = integer(options.next().ok_or(CommandError::Syntax)?)?;
                    parsed.length_min = u64::try_from(length_min).unwrap_or(0);
                }
                _ => return Err(CommandError::Syntax),
            }
        }
        if parsed.length && parsed.positions {
            return Err(CommandError::text(
                "ERR If you want both the length and indexes, please just use IDX.",
            ));
        }
        Ok(parsed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> impl Iterator<Item = &[u8]> {
        text.split_whitespace().map(str::as_bytes)
    }

    #[test]
    fn set_takes_options_in_any_order() {
        let parse = |text| ValueOptions::parse(words(text), OptionsOf::Set);
        let options = parse("get EX 10 nx").unwrap();
        assert_eq!(options.condition, Some(Condition::Absent));
        assert!(options.returns_old);
        assert_eq!(options.expiry, Expiry::At(TimeForm::Seconds, b"10"));
        assert_eq!(
            parse("PX 1 PX 2").unwrap().expiry,
            Expiry::At(TimeForm::Millis, b"2")
        );
        assert_eq!(parse("XX KeepTtl XX").unwrap().expiry, Expiry::Keep);
        for text in [
            "NX XX",
            "XX NX",
            "EX",
            "EX 1 PX 1",
            "KEEPTTL EX 1",
            "EXAT 1 KEEPTTL",
            "PERSIST",
            "FOO",
        ] {
            assert_eq!(parse(text), Err(CommandError::Syntax), "{text}");
        }
    }

    #[test]
    fn getex_takes_deadlines_and_persist_alone() {
        let parse = |text| ValueOptions::parse(words(text), OptionsOf::Getex);
        assert_eq!(parse("persist").unwrap().expiry, Expiry::Drop);
        assert_eq!(
            parse("PXAT 5").unwrap().expiry,
            Expiry::At(TimeForm::UnixMillis, b"5")
        );
        for text in [
            "NX",
            "XX",
            "GET",
            "KEEPTTL",
            "PERSIST EX 1",
            "EX 1 PERSIST",
            "PX",
        ] {
            assert_eq!(parse(text), Err(CommandError::Syntax), "{text}");
        }
    }

    #[test]
    fn conditions_of_expire_exclude_each_other() {
        let parse = |text| ExpireOptions::parse(words(text));
        assert!(parse("xx GT XX").is_ok());
        assert!(parse("NX NX").is_ok());
        let text = |text| parse(text).unwrap_err().to_string();
        assert_eq!(
            text("NX LT"),
            "ERR NX and XX, GT or LT options at the same time are not compatible"
        );
        assert_eq!(
            text("XX GT LT"),
            "ERR GT and LT options at the same time are not compatible"
        );
        assert_eq!(text("FoO"), "ERR Unsupported option FoO");
    }

    #[test]
    fn conditions_of_expire_compare_deadlines() {
        let allow = |text, current, new| {
            ExpireOptions::parse(words(text))
                .unwrap()
                .allow(current, new)
        };
        assert!(allow("", None, -5) && allow("", Some(1), 1));
        assert!(allow("NX", None, 1) && !allow("NX", Some(1), 2));
        assert!(allow("XX", Some(1), 2) && !allow("XX", None, 1));
        assert!(allow("GT", Some(1), 2) && !allow("GT", Some(2), 2) && !allow("GT", None, 1));
        assert!(allow("LT", Some(2), 1) && !allow("LT", Some(2), 2) && allow("LT", None, 1));
    }

    #[test]
    fn lcs_has_one_kind_of_reply() {
        let parse = |text| LcsOptions::parse(words(text));
        let options = parse("idx MinMatchLen -5 withmatchlen").unwrap();
        let expected = LcsOptions {
            positions: true,
            with_lengths: true,
            ..LcsOptions::default()
        };
        assert_eq!(options, expected);
        assert_eq!(parse("MINMATCHLEN 7").unwrap().length_min, 7);
        assert_eq!(parse("MINMATCHLEN"), Err(CommandError::Syntax));
        assert_eq!(parse("MINMATCHLEN x"), Err(CommandError::NotAnInteger));
        assert!(
            parse("LEN IDX")
                .unwrap_err()
                .to_string()
                .starts_with("ERR If you want both")
        );
    }
}
