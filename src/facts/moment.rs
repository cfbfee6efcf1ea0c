//! A point in time that reaches to the end of the year 9999.

use std::{fmt, str::FromStr};

use jiff::{SignedDuration, Timestamp, ToSpan, civil};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// 1970-01-01T00:00:00Z without its zone.
const EPOCH: civil::DateTime = civil::datetime(1970, 1, 1, 0, 0, 0, 0);

/// A point in time in whole seconds since 1970, from the year -9999 to the last second of 9999.
///
/// The last one is how a certificate says that it never ends (RFC 5280 §4.1.2.5), and
/// [`Timestamp`] ends a day before it. Shown and serialized by RFC 3339, as
/// `9999-12-31T23:59:59Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(i64);

impl Moment {
    /// -9999-01-01T00:00:00Z.
    pub const MIN: Self = Self(-377_705_116_800);
    /// 9999-12-31T23:59:59Z.
    pub const MAX: Self = Self(253_402_300_799);

    /// Returns the moment these seconds after 1970, or the nearest one there is.
    #[must_use]
    pub fn from_second(seconds: i64) -> Self {
        Self(seconds.clamp(Self::MIN.0, Self::MAX.0))
    }

    /// Returns the seconds since 1970.
    #[must_use]
    pub fn as_second(self) -> i64 {
        self.0
    }

    /// Returns the present, without the fraction of its second.
    #[must_use]
    pub fn now() -> Self {
        Timestamp::now().into()
    }

    /// Returns the time from `earlier` to this; negative if this is the earlier one.
    #[must_use]
    pub fn duration_since(self, earlier: impl Into<Self>) -> SignedDuration {
        SignedDuration::from_secs(self.0 - earlier.into().0)
    }

    /// Returns the whole days from `now` to this, rounded down: negative once it has passed.
    #[must_use]
    pub fn days_since(self, now: impl Into<Self>) -> i64 {
        (self.0 - now.into().0).div_euclid(24 * 60 * 60)
    }

    /// Returns the nearest timestamp there is.
    #[must_use]
    pub fn to_timestamp(self) -> Timestamp {
        let bound = if self.0 < 0 {
            Timestamp::MIN
        } else {
            Timestamp::MAX
        };
        Timestamp::from_second(self.0).unwrap_or(bound)
    }

    fn civil(self) -> civil::DateTime {
        EPOCH.saturating_add(self.0.seconds())
    }
}

impl From<Timestamp> for Moment {
    fn from(at: Timestamp) -> Self {
        // Rounded down, before 1970 too.
        let before = i64::from(at.subsec_nanosecond() < 0);
        Self(at.as_second() - before)
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}Z", self.civil())
    }
}

/// The text is no moment.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is no date and time such as 2026-11-01T12:00:00Z")]
pub struct NoMoment(String);

impl FromStr for Moment {
    type Err = NoMoment;

    fn from_str(text: &str) -> Result<Self, NoMoment> {
        let refuse = || NoMoment(text.to_owned());
        let at = text.strip_suffix('Z').ok_or_else(refuse)?;
        let at: civil::DateTime = at.parse().map_err(|_| refuse())?;
        Ok(Self::from_second(at.duration_since(EPOCH).as_secs()))
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_shown_and_read_as_they_are() {
        for (seconds, text) in [
            (253_402_300_799, "9999-12-31T23:59:59Z"),
            (i64::MAX, "9999-12-31T23:59:59Z"),
            (0, "1970-01-01T00:00:00Z"),
            (-1, "1969-12-31T23:59:59Z"),
            (2_524_608_000, "2050-01-01T00:00:00Z"),
        ] {
            let moment = Moment::from_second(seconds);
            assert_eq!(moment.to_string(), text);
            assert_eq!(text.parse::<Moment>().unwrap(), moment);
        }
        assert!(
            Moment::MIN
                .to_string()
                .starts_with("-009999-01-01T00:00:00")
        );
        for text in ["2050-01-01T00:00:00", "2050-01-01T00:00:00+01:00", "never"] {
            assert!(text.parse::<Moment>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_timestamp_and_a_moment_are_the_same_second() {
        for text in ["2026-11-01T12:00:00Z", "1960-01-01T00:00:00Z"] {
            let at: Timestamp = text.parse().unwrap();
            assert_eq!(Moment::from(at).to_timestamp(), at);
            assert_eq!(Moment::from(at).to_string(), text);
        }
        let before: Timestamp = "1969-12-31T23:59:59.5Z".parse().unwrap();
        assert_eq!(Moment::from(before).as_second(), -1);
        assert_eq!(Moment::MAX.to_timestamp(), Timestamp::MAX);
        assert_eq!(Moment::MIN.to_timestamp(), Timestamp::MIN);
    }

    #[test]
    fn days_are_whole_and_rounded_down() {
        let day = 24 * 60 * 60;
        let now = Moment::from_second(day);
        for (then, days) in [(day, 0), (2 * day - 1, 0), (2 * day, 1), (day - 1, -1)] {
            assert_eq!(Moment::from_second(then).days_since(now), days);
        }
    }
}
