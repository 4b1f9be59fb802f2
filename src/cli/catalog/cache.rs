//! Which table a command works with: the refreshed file in the user's cache directory, or the embedded one.

#[cfg(any(feature = "aws", test))]
use std::io::Write as _;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use jiff::civil::Date;

use crate::cli::outcome::{Context, Exit, Failure};
use crate::domain::catalog::{BadCatalog, Catalog, UnknownRegion};

/// A file beyond this is none of ours: a full region is 0.5 MB.
const LARGEST: u64 = 16 << 20;

/// Prices older than this are pointed out, days.
const OLD: i32 = 120;

/// Something the reader of an answer should know about the table; the same on every day with the same table.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Notice {
    /// Stable name, such as `catalog-stand-in-prices`.
    pub code: &'static str,
    /// `info` or `warning`.
    pub severity: &'static str,
    /// The sentence.
    pub message: String,
}

/// Returns the catalog of a region and what must be said about it in the answer.
///
/// Never touches the network. Says on stderr when the prices are old or a refreshed file cannot be used; that
/// depends on the day and the machine and stays out of the answer, so that the same inputs give the same bytes.
///
/// # Errors
///
/// Ends with wrong input if neither table knows the region.
pub fn load(region: &str, context: &Context) -> Result<(Catalog, Vec<Notice>), Failure> {
    let catalog = match refreshed(region) {
        Ok(Some(catalog)) => catalog,
        other => {
            if let Err(problem) = other {
                context.warn(format!(
                    "the refreshed catalog cannot be used, the embedded one is: {problem}; `dataops-infra catalog \
                     refresh --region {region}` writes it anew"
                ));
            }
            Catalog::embedded(region).map_err(|error| unknown(&error))?
        }
    };
    if let Some(days) = age(&catalog, today()).filter(|days| *days > OLD) {
        context.note(format!(
            "the prices of {} are {days} days old ({}); `dataops-infra catalog refresh --region {region}` reads those of today",
            catalog.price_region, catalog.date
        ));
    }
    let notices = notices(&catalog);
    Ok((catalog, notices))
}

/// Returns what an answer says about its table.
fn notices(catalog: &Catalog) -> Vec<Notice> {
    let notice = |code, severity, message| Notice {
        code,
        severity,
        message,
    };
    let embedded = catalog.origin == "embedded";
    let mut notices = vec![notice(
        if embedded {
            "catalog-embedded"
        } else {
            "catalog-refreshed"
        },
        "info",
        format!(
            "instance types and prices are from the {} catalog, read {}",
            if embedded { "embedded" } else { "refreshed" },
            catalog.date
        ),
    )];
    if catalog.has_stand_in_prices() {
        notices.push(notice(
            "catalog-stand-in-prices",
            "warning",
            format!(
                "the catalog has no prices of {}; those of {} stand in for all of them",
                catalog.region, catalog.price_region
            ),
        ));
    } else {
        let stand_in = catalog.services.items().into_iter();
        let others: Vec<&str> = stand_in
            .filter(|(_, price)| price.region != catalog.region)
            .map(|(item, _)| item)
            .collect();
        if !others.is_empty() {
            notices.push(notice(
                "catalog-stand-in-services",
                "info",
                format!(
                    "prices of us-east-1 stand in for {} in {}",
                    others.join(", "),
                    catalog.region
                ),
            ));
        }
    }
    notices
}

/// Returns the refreshed catalog of a region, none if there is no such file.
fn refreshed(region: &str) -> Result<Option<Catalog>, String> {
    let Ok(path) = file(region, |name| std::env::var(name).ok()) else {
        return Ok(None);
    };
    let shown = path.display().to_string();
    let text = match read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("{shown}: {error}")),
    };
    let catalog = Catalog::from_refreshed(&text, &shown).map_err(|error: BadCatalog| error.to_string())?;
    if catalog.region != region {
        return Err(format!("{shown}: holds {}", catalog.region));
    }
    Ok(Some(catalog))
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let length = std::fs::File::open(path)?
        .take(LARGEST + 1)
        .read_to_string(&mut text)?;
    if length as u64 > LARGEST {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "is larger than any catalog",
        ));
    }
    Ok(text)
}

/// Returns where the catalog of a region is kept.
pub(super) fn file(region: &str, variable: impl Fn(&str) -> Option<String>) -> Result<PathBuf, Failure> {
    let set = |name| {
        variable(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let folder = set("DATAOPS_INFRA_CACHE_DIR")
        // The XDG specification has relative paths ignored.
        .or_else(|| {
            set("XDG_CACHE_HOME")
                .filter(|path| path.is_absolute())
                .map(|path| path.join("dataops-infra"))
        })
        .or_else(|| set("HOME").map(|path| path.join(".cache").join("dataops-infra")))
        .ok_or_else(|| {
            Failure::new(
                Exit::Failed,
                "there is no place for the cache: neither HOME nor XDG_CACHE_HOME is set",
            )
            .hint("set DATAOPS_INFRA_CACHE_DIR to a directory that you may write to")
        })?;
    Ok(folder.join(format!("catalog-{region}.json")))
}

/// Checks that the file can be written, before anything is fetched for it.
#[cfg(any(feature = "aws", test))]
pub(super) fn prepare(path: &Path) -> Result<(), Failure> {
    let put = |folder: &Path| {
        std::fs::create_dir_all(folder)?;
        beside(folder).map(drop)
    };
    put(folder(path)).map_err(|error| unwritable(path, error))
}

/// Puts the text where the file is, as a whole or not at all.
#[cfg(any(feature = "aws", test))]
pub(super) fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let put = || -> io::Result<()> {
        let mut beside = beside(folder(path))?;
        beside.write_all(text.as_bytes())?;
        beside.as_file().sync_all()?;
        beside.persist(path)?;
        Ok(())
    };
    put().map_err(|error| unwritable(path, error))
}

#[cfg(any(feature = "aws", test))]
fn folder(path: &Path) -> &Path {
    path.parent().unwrap_or_else(|| Path::new("."))
}

#[cfg(any(feature = "aws", test))]
fn beside(folder: &Path) -> io::Result<tempfile::NamedTempFile> {
    tempfile::Builder::new().prefix(".catalog-").tempfile_in(folder)
}

#[cfg(any(feature = "aws", test))]
fn unwritable(path: &Path, error: io::Error) -> Failure {
    let message = format!("could not write {}; the catalog is as it was", path.display());
    Failure::new(Exit::Failed, message)
        .because(error)
        .hint("set DATAOPS_INFRA_CACHE_DIR to a directory that you may write to")
}

/// Returns how many days before `today` the oldest price is of; none without a date.
pub(super) fn age(catalog: &Catalog, today: Date) -> Option<i32> {
    let of: Date = catalog.date.parse().ok()?;
    today.since(of).ok().map(|span| span.get_days())
}

/// Returns the day in UTC.
pub(super) fn today() -> Date {
    jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date()
}

fn unknown(error: &UnknownRegion) -> Failure {
    let hint = match error.nearest.first() {
        _ if error.region.starts_with("cn-") => {
            "prices in China are in yuan, which this version does not handle".to_owned()
        }
        _ if error.exists => format!("dataops-infra catalog refresh --region {}", error.region),
        Some(_) => format!("did you mean {}?", error.nearest.join(" or ")),
        None => format!(
            "known regions: {}",
            Catalog::embedded_regions().collect::<Vec<_>>().join(", ")
        ),
    };
    Failure::new(Exit::BadInput, error.to_string()).hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_is_where_the_variables_say() {
        let of = |pairs: &'static [(&str, &str)]| {
            file("eu-west-2", |name| {
                pairs
                    .iter()
                    .find(|(key, _)| *key == name)
                    .map(|(_, value)| (*value).to_owned())
            })
            .map(|path| path.display().to_string())
        };
        let all = &[
            ("DATAOPS_INFRA_CACHE_DIR", "/a"),
            ("XDG_CACHE_HOME", "/b"),
            ("HOME", "/c"),
        ];
        assert_eq!(of(all).expect("set"), "/a/catalog-eu-west-2.json");
        let xdg = &[
            ("DATAOPS_INFRA_CACHE_DIR", ""),
            ("XDG_CACHE_HOME", "/b"),
            ("HOME", "/c"),
        ];
        assert_eq!(of(xdg).expect("set"), "/b/dataops-infra/catalog-eu-west-2.json");
        let home = &[("XDG_CACHE_HOME", "relative"), ("HOME", "/c")];
        assert_eq!(
            of(home).expect("set"),
            "/c/.cache/dataops-infra/catalog-eu-west-2.json"
        );
        assert_eq!(of(&[]).expect_err("nowhere").exit, Exit::Failed);
    }

    #[test]
    fn a_file_is_replaced_as_a_whole() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("new").join("catalog-eu-west-2.json");
        prepare(&path).expect("a folder is made");
        write(&path, "one").expect("written");
        write(&path, "two").expect("replaced");
        assert_eq!(read(&path).expect("there"), "two");
        let beside = std::fs::read_dir(path.parent().expect("a folder"))
            .expect("readable")
            .count();
        assert_eq!(beside, 1, "no temporary file is left");
    }

    #[test]
    fn a_place_that_cannot_be_written_is_a_failure_with_a_way_out() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("file");
        std::fs::write(&file, "").expect("written");
        let failure = prepare(&file.join("catalog-eu-west-2.json")).expect_err("a file is no folder");
        assert_eq!(failure.exit, Exit::Failed);
        assert!(
            failure
                .hint
                .is_some_and(|hint| hint.contains("DATAOPS_INFRA_CACHE_DIR"))
        );
    }

    #[test]
    fn age_is_counted_in_days() {
        let catalog = Catalog::embedded("us-east-1").expect("known");
        assert_eq!(age(&catalog, jiff::civil::date(2026, 2, 10)), Some(1));
        assert_eq!(age(&catalog, jiff::civil::date(2027, 2, 9)), Some(365));
    }

    #[test]
    fn notices_tell_prices_of_another_region() {
        let codes = |catalog: &Catalog| {
            notices(catalog)
                .iter()
                .map(|notice| notice.code)
                .collect::<Vec<_>>()
        };
        let mut catalog = Catalog::embedded("us-east-1").expect("known");
        assert_eq!(codes(&catalog), ["catalog-embedded"]);
        catalog.region = "eu-west-9".to_owned();
        assert_eq!(codes(&catalog), ["catalog-embedded", "catalog-stand-in-prices"]);
        let london = Catalog::embedded("eu-west-2").expect("known");
        assert_eq!(codes(&london), ["catalog-embedded", "catalog-stand-in-services"]);
    }

    #[test]
    fn an_unknown_region_ends_with_the_way_on() {
        let failure = |region| unknown(&Catalog::embedded(region).expect_err("unknown"));
        assert_eq!(failure("eu-wst-2").exit, Exit::BadInput);
        let hint = |region| failure(region).hint.expect("a hint");
        assert!(hint("eu-wst-2").starts_with("did you mean eu-west-2"));
        assert!(hint("us-gov-east-1").contains("catalog refresh --region us-gov-east-1"));
        assert!(hint("atlantis").starts_with("known regions: af-south-1"));
    }
}
