//! Lists of all sandboxes, page after page.

use super::{client, with_auth};
use crate::modal::catalogue::Wanted;
use crate::modal::error::CallError;
use crate::testing::{Fake, Reply};
use modal_proto::client::{SandboxInfo, SandboxListRequest, SandboxListResponse};
use tonic::Code;

const ALL: Wanted<'_> = Wanted {
    tags: &[],
    finished: false,
    environment: Some("dev"),
    most: 10_000,
};

fn listed(fake: &Fake) -> Result<Vec<String>, CallError> {
    let all = fake.block_on(client(fake).list_all("", ALL))?;
    Ok(all.into_iter().map(|sandbox| sandbox.id).collect())
}

fn page(ids: &[u32]) -> Reply {
    let sandbox = |id: &u32| SandboxInfo {
        id: format!("sb-{id}"),
        created_at: f64::from(*id),
        ..SandboxInfo::default()
    };
    Reply::ok(&SandboxListResponse {
        sandboxes: ids.iter().map(sandbox).collect(),
    })
}

/// Sandboxes 1 to 6, two a page, the newest first; `broken` is asked before a page is
/// given.
fn paged(broken: impl Fn(f64) -> Option<Reply> + 'static) -> Fake {
    with_auth(move |sent| {
        let request: SandboxListRequest = sent.decode();
        assert_eq!(request.environment_name, "dev");
        let before = match request.before_timestamp {
            0.0 => f64::INFINITY,
            before => before,
        };
        if let Some(reply) = broken(before) {
            return reply;
        }
        let older = (1..=6).rev().filter(|id| f64::from(*id) < before);
        page(&older.take(2).collect::<Vec<u32>>())
    })
}

#[test]
fn all_pages_are_one_list() {
    let ids = listed(&paged(|_| None)).unwrap();
    assert_eq!(ids, ["sb-6", "sb-5", "sb-4", "sb-3", "sb-2", "sb-1"]);
}

/// What was read so far is not the list.
#[test]
fn a_list_with_a_page_that_cannot_be_read_is_no_list() {
    let replies: [fn() -> Reply; 3] = [
        || Reply::failure(Code::PermissionDenied, "no"),
        || Reply::failure(Code::Unavailable, "no"),
        || Reply::Broken(vec![vec![0, 0].into()], Code::Unavailable, "reset"),
    ];
    for last in [f64::INFINITY, 6.0, 4.0, 2.0] {
        for reply in replies {
            let fake = paged(move |before| (before <= last).then(reply));
            let told = listed(&fake);
            assert!(told.is_err(), "from {last} on: {told:?}");
        }
    }
}

#[test]
fn a_list_that_is_too_long_is_no_list() {
    let fake = with_auth(|sent| {
        let request: SandboxListRequest = sent.decode();
        let newest = match request.before_timestamp {
            0.0 => 10_000_000,
            #[allow(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "whole and above 0"
            )]
            before => before as u32,
        };
        page(&(newest - 1000..newest).rev().collect::<Vec<u32>>())
    });
    let error = listed(&fake).unwrap_err();
    assert!(error.is(Code::OutOfRange), "{error}");
    assert!(error.to_string().contains("more than 10000 sandboxes"));
}
