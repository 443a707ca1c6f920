//! One process, its providers, and what services answer.

use super::*;
use crate::clock;

const SECOND: Duration = Duration::from_secs(1);

/// A process at some moment.
struct Process {
    memory: Memory<()>,
    now: Moment,
}

/// The access key `id` with a secret.
fn key(id: &str, secret: &str) -> Used {
    let version = format!("{id}/{secret}");
    let source = Source {
        version: version.clone(),
        resource_version: Some("7".into()),
        project_principal: Principal { id: id.into(), secret: version.clone() },
        principal: Principal { id: id.into(), secret: version },
        lock: Lock::AccessKey,
        destination: "destination".into(),
        is_exchanged: false,
        project: Some("project".into()),
        name: format!("the key {id}"),
        remedy: "Correct it.".into(),
    };
    Used { source: Arc::new(source), login: 0 }
}

/// The password of a user, in a provider whose spec has this version.
fn password(secret: &str, version: &str) -> Used {
    let source = Source {
        version: format!("{secret}{version}"),
        principal: Principal { id: "acct/ci".into(), secret: format!("acct/ci/{secret}") },
        lock: Lock::Password,
        is_exchanged: true,
        ..(*key("", "").source).clone()
    };
    Used { source: Arc::new(source), login: 0 }
}

impl Process {
    fn new() -> Self {
        let now = Moment { instant: clock::monotonic(), time: clock::now(), chance: 0 };
        Self { memory: Memory::default(), now }
    }

    fn pass(&mut self, time: Duration) {
        self.now.instant += time;
        self.now.time += time;
    }

    /// A reconcile of a provider begins.
    fn begin(&mut self, provider: &str, used: &Used) -> Step {
        self.memory.begin(&provider.into(), &used.source, None, self.now.instant);
        self.decide(provider)
    }

    fn decide(&self, provider: &str) -> Step {
        self.memory.decide(provider, &self.now)
    }

    fn record(&mut self, provider: &str, used: &Used, event: Event) -> Step {
        let request = Request { provider, used, sent: self.now.instant };
        self.memory.record(&request, event, &self.now);
        self.decide(provider)
    }

    /// A login that works, and brings a token for this long.
    fn log_in(&mut self, provider: &str, used: &Used, life: Duration) -> Used {
        let end = self.now.time + life;
        let renew_at = self.now.time + life / 2;
        let request = Request { provider, used, sent: self.now.instant };
        let login = Login { credential: (), expires_at: Some(end), renew_at, project: None };
        self.memory.logged_in(&request, login);
        Used { login: self.memory.sessions[provider].logins, ..used.clone() }
    }
}

fn message(step: &Step) -> &str {
    let Step::Stop(why) = step else { panic!("{step:?}") };
    &why.message
}

fn refused(call: Call) -> Event {
    Event::Refused(call, "no".into())
}

#[test]
fn a_key_is_checked_once_and_used_from_then_on() {
    let (mut process, used) = (Process::new(), key("a", "right"));
    assert_eq!(process.begin("p", &used), Step::Check(0, "project".into()));
    let step = process.record("p", &used, Event::Checked(Proof::Accepted));
    assert!(
        matches!(&step, Step::Use(in_use) if in_use.project == "project" && in_use.login == 0),
        "{step:?}"
    );
    assert_eq!(process.begin("q", &used), step, "for every provider of the same destination");
}

#[test]
fn a_project_is_looked_up_where_nobody_names_it() {
    let used = key("a", "right");
    let used = Used { source: Arc::new(Source { project: None, ..(*used.source).clone() }), login: 0 };
    let mut process = Process::new();
    assert_eq!(process.begin("p", &used), Step::FindProject(0));
    let denied = Event::Failed(Call::FindProject, Failure::Denied("which?".into()));
    assert!(message(&process.record("p", &used, denied)).contains("refused to look up the project: which?"));
    process.pass(KEY_LOCK);
    assert_eq!(process.decide("p"), Step::FindProject(0));
    assert_eq!(process.record("p", &used, Event::ProjectFound("id".into())), Step::Check(0, "id".into()));
}

#[test]
fn t13_a_refused_key_is_left_alone_for_five_minutes_by_whatever_provider() {
    let (mut process, wrong) = (Process::new(), key("a", "wrong"));
    process.begin("p", &wrong);
    assert!(
        message(&process.record("p", &wrong, refused(Call::Check)))
            .starts_with("The service does not accept the key a: no.")
    );
    assert!(message(&process.begin("q", &wrong)).contains("no"));
    assert!(matches!(process.begin("r", &key("a", "right")), Step::Check(..)), "a correction counts at once");
    assert!(matches!(process.begin("s", &key("b", "wrong")), Step::Check(..)), "another key is another key");
    process.pass(KEY_LOCK);
    assert!(matches!(process.decide("p"), Step::Check(..)));
}

#[test]
fn t13_guessing_secrets_of_one_key_comes_to_rest_before_it_is_locked() {
    let mut process = Process::new();
    let guess = |process: &mut Process, number: usize| {
        let used = key("a", &number.to_string());
        assert!(matches!(process.begin("p", &used), Step::Check(..)), "{number}");
        process.record("p", &used, refused(Call::Check))
    };
    for number in 0..FAILURES_MAX {
        guess(&mut process, number);
        process.pass(SECOND);
    }
    let next = key("a", "next");
    assert!(message(&process.begin("p", &next)).contains("could lock the"));
    process.pass(KEY_LOCK.saturating_sub(SECOND * 3));
    assert!(matches!(process.decide("p"), Step::Check(..)));
    // A success ends the count.
    process.record("p", &next, Event::Checked(Proof::Accepted));
    for number in 10..10 + FAILURES_MAX {
        guess(&mut process, number);
    }
    // A key that works is not concerned.
    let right = key("b", "right");
    process.begin("q", &right);
    process.record("q", &right, Event::Checked(Proof::Accepted));
    for number in 0..=FAILURES_MAX {
        let wrong = key("b", &number.to_string());
        process.record("r", &wrong, refused(Call::Check));
    }
    assert!(matches!(process.decide("q"), Step::Use(_)));
}

#[test]
fn t13_a_key_that_was_good_is_refused_like_any_other_and_a_slow_answer_does_not_restore_it() {
    let (mut process, used) = (Process::new(), key("a", "revoked"));
    process.begin("p", &used);
    process.record("p", &used, Event::Checked(Proof::Accepted));
    let sent = process.now.instant;
    process.pass(SECOND);
    assert!(message(&process.record("p", &used, refused(Call::Check))).contains("no"));
    // The request was accepted before the key was revoked, and its function took a while.
    process.pass(SECOND);
    process.memory.answered(&Request { provider: "p", used: &used, sent });
    assert!(message(&process.decide("p")).contains("no"));
}

#[test]
fn t22_one_wrong_password_is_shown_once_whatever_providers_edits_and_re_creations() {
    let mut process = Process::new();
    let mut logins = 0;
    let mut reconcile = |process: &mut Process, provider: &str, version: &str| {
        let used = password("wrong", version);
        match process.begin(provider, &used) {
            Step::LogIn => {
                logins += 1;
                process.record(provider, &used, refused(Call::LogIn));
            }
            step => assert!(message(&step).contains("does not accept")),
        }
        process.pass(SECOND);
    };
    for provider in ["a/1", "a/2", "b/1", "c"] {
        reconcile(&mut process, provider, provider);
    }
    for edit in ["bundle 1", "bundle 2", "bundle 3"] {
        reconcile(&mut process, "a/1", edit);
    }
    for uid in ["uid 1", "uid 2"] {
        process.memory.forget("a/2", process.now.instant);
        reconcile(&mut process, "a/2", uid);
    }
    process.pass(PASSWORD_LOCK.saturating_sub(SECOND * 10));
    reconcile(&mut process, "a/1", "bundle 3");
    assert_eq!(logins, 1);
    process.pass(SECOND * 10);
    let next = process.begin("a/1", &password("wrong", "bundle 3"));
    assert_eq!(next, Step::LogIn, "after IAM forgot the failures");
}

#[test]
fn t22_a_correct_password_does_not_end_the_count_of_the_wrong_ones() {
    let mut process = Process::new();
    for number in 1..FAILURES_MAX {
        let used = password(&number.to_string(), "");
        assert_eq!(process.begin("p", &used), Step::LogIn);
        process.record("p", &used, refused(Call::LogIn));
    }
    let right = password("right", "");
    assert_eq!(process.begin("p", &right), Step::LogIn);
    process.log_in("p", &right, Duration::from_mins(1));
    let used = password("other", "");
    assert_eq!(process.begin("q", &used), Step::LogIn);
    assert!(message(&process.record("q", &used, refused(Call::LogIn))).contains("does not accept"));
    assert!(message(&process.begin("q", &password("last", ""))).contains("could lock the"));
    assert!(matches!(process.decide("p"), Step::Check(..)), "the right one goes on");
}

#[test]
fn an_exchanged_credential_is_renewed_once_and_then_left_alone() {
    let (mut process, source) = (Process::new(), password("right", ""));
    process.begin("p", &source);
    let first = process.log_in("p", &source, SECOND * 1000);
    process.record("p", &first, Event::Checked(Proof::Accepted));
    // Several requests were under way.
    for _ in 0..3 {
        assert_eq!(process.record("p", &first, refused(Call::Check)), Step::LogIn, "it may be out of date");
    }
    let second = process.log_in("p", &source, SECOND * 1000);
    assert!(matches!(process.decide("p"), Step::Check(..)), "it has to prove itself again");
    assert!(matches!(process.record("p", &first, refused(Call::Check)), Step::Check(..)), "a late answer");
    assert!(message(&process.record("p", &second, refused(Call::Check))).contains("does not accept"));
    process.pass(KEY_LOCK);
    assert_eq!(process.decide("p"), Step::LogIn);
}

#[test]
fn a_renewal_that_fails_leaves_the_old_credential_in_use_until_it_ends() {
    let (mut process, source) = (Process::new(), password("right", ""));
    process.begin("p", &source);
    let used = process.log_in("p", &source, SECOND * 100);
    process.record("p", &used, Event::Checked(Proof::Accepted));
    process.pass(SECOND * 50);
    assert_eq!(process.decide("p"), Step::LogIn);
    let failure = Failure::Passing("busy".into(), Some(SECOND * 20));
    let step = process.record("p", &source, Event::Failed(Call::LogIn, failure));
    let Step::Use(in_use) = step else { panic!("{step:?}") };
    assert_eq!(in_use.not_renewed.as_deref(), Some("busy"));
    assert_eq!(in_use.decide_again_in, Some(SECOND * 20));
    process.pass(SECOND * 20);
    assert_eq!(process.decide("p"), Step::LogIn);
    // Denied for another reason than the password: nobody has said that the token is not good any more.
    let step = process.record("p", &source, Event::Failed(Call::LogIn, Failure::Denied("forbidden".into())));
    let Step::Use(in_use) = step else { panic!("{step:?}") };
    assert_eq!(in_use.not_renewed.as_deref(), Some("forbidden"));
    process.pass(SECOND * 30);
    assert!(message(&process.decide("p")).contains("does not accept"), "the token has ended");
}

#[test]
fn a_password_that_is_refused_ends_what_it_brought() {
    let (mut process, source) = (Process::new(), password("right", ""));
    process.begin("p", &source);
    let used = process.log_in("p", &source, SECOND * 100);
    process.record("p", &used, Event::Checked(Proof::Accepted));
    process.pass(Duration::from_mins(1));
    assert!(message(&process.record("p", &source, refused(Call::LogIn))).contains("does not accept"));
}

#[test]
fn what_another_replica_was_told_is_not_tried_and_only_while_it_is_recent() {
    let (mut process, used) = (Process::new(), key("a", "wrong"));
    let told = |process: &Process, ago: Duration| Told {
        message: "The service does not accept it.".into(),
        time: process.now.time - ago,
        delay: SECOND * 30,
    };
    let mut begin = |ago| {
        let told = told(&process, ago);
        process.memory.begin(&"p".into(), &used.source, Some(told), process.now.instant);
        process.decide("p")
    };
    assert_eq!(message(&begin(Duration::ZERO)), "The service does not accept it.");
    assert_eq!(message(&begin(KEY_LOCK + SECOND * 29)), "The service does not accept it.");
    assert!(matches!(begin(KEY_LOCK + SECOND * 31), Step::Check(..)));
    // A success of our own is newer.
    process.record("p", &used, Event::Checked(Proof::Accepted));
    let told = told(&process, SECOND);
    process.memory.begin(&"p".into(), &used.source, Some(told.clone()), process.now.instant);
    assert!(matches!(process.decide("p"), Step::Use(_)));
    // A time in the future is a wrong clock's.
    let future = Told { time: process.now.time + SECOND * 100, ..told };
    let other = key("a", "other");
    process.memory.begin(&"q".into(), &other.source, Some(future), process.now.instant);
    assert!(matches!(process.decide("q"), Step::Check(..)));
}

#[test]
fn a_check_that_proves_nothing_is_made_again_ever_more_slowly() {
    let (mut process, used) = (Process::new(), key("a", "any"));
    process.begin("p", &used);
    let mut pauses = Vec::new();
    for _ in 0..4 {
        let failure = Failure::Unproven(Reason::Throttled, "busy".into(), None);
        let step = process.record("p", &used, Event::Failed(Call::Check, failure));
        let Step::Stop(Stop { reason: Reason::Throttled, until: Some(until), .. }) = step else {
            panic!("{step:?}")
        };
        let pause = until - process.now.instant;
        pauses.push(pause.as_secs());
        process.pass(pause);
        assert!(matches!(process.decide("p"), Step::Check(..)));
    }
    assert_eq!(pauses, [1, 2, 4, 8]);
}

#[test]
fn what_no_provider_uses_and_nobody_refused_is_forgotten() {
    let mut process = Process::new();
    for number in 0..100 {
        let (provider, used) = (format!("p{number}"), key(&number.to_string(), "secret"));
        process.begin(&provider, &used);
        let event = if number % 2 == 0 { Event::Checked(Proof::Accepted) } else { refused(Call::Check) };
        process.record(&provider, &used, event);
    }
    let forget = |process: &mut Process| {
        for number in 0..100 {
            process.memory.forget(&format!("p{number}"), process.now.instant);
        }
    };
    forget(&mut process);
    assert_eq!((process.memory.sessions.len(), process.memory.principals.len()), (0, 50));
    process.pass(KEY_LOCK);
    process.begin("last", &key("a", "secret"));
    process.memory.forget("last", process.now.instant);
    assert_eq!(process.memory.principals.len(), 0);
}

/// A key whose project is asked for at a service of another cloud.
fn astray(id: &str, secret: &str) -> Used {
    let used = key(id, secret);
    let elsewhere = Principal { id: format!("elsewhere {id}"), secret: format!("elsewhere {id}/{secret}") };
    let source = Source { project: None, project_principal: elsewhere, ..(*used.source).clone() };
    Used { source: Arc::new(source), login: 0 }
}

#[test]
fn t13_another_clouds_identity_service_neither_refuses_a_key_nor_ends_its_count() {
    let (mut process, good) = (Process::new(), key("a", "right"));
    process.begin("good", &good);
    process.record("good", &good, Event::Checked(Proof::Accepted));
    let typo = astray("a", "right");
    assert_eq!(process.begin("typo", &typo), Step::FindProject(0));
    let step = process.record("typo", &typo, refused(Call::FindProject));
    assert!(message(&step).starts_with("The identity service does not accept"));
    assert!(matches!(process.decide("good"), Step::Use(_)), "it has not asked that service");

    for number in 0..FAILURES_MAX {
        let guess = astray("b", &number.to_string());
        process.begin("guess", &guess);
        let step = process.record("guess", &guess, Event::ProjectFound("p".into()));
        assert!(matches!(step, Step::Check(..)), "{number}");
        process.record("guess", &guess, refused(Call::Check));
    }
    assert!(message(&process.begin("guess", &astray("b", "last"))).contains("could lock the access key"));
}

#[test]
fn a_token_that_is_revoked_long_after_another_is_renewed_at_once() {
    let (mut process, source) = (Process::new(), password("right", ""));
    process.begin("p", &source);
    let mut used = process.log_in("p", &source, SECOND * 1000);
    for _ in 0..3 {
        process.record("p", &used, Event::Checked(Proof::Accepted));
        assert_eq!(process.record("p", &used, refused(Call::Check)), Step::LogIn);
        used = process.log_in("p", &source, SECOND * 1000);
        process.pass(KEY_LOCK);
    }
}

#[test]
fn a_token_that_only_the_check_accepts_is_renewed_once() {
    let (mut process, source) = (Process::new(), password("right", ""));
    process.begin("p", &source);
    let used = process.log_in("p", &source, SECOND * 1000);
    process.record("p", &used, Event::Checked(Proof::Accepted));
    assert_eq!(process.record("p", &used, refused(Call::Check)), Step::LogIn);
    let used = process.log_in("p", &source, SECOND * 1000);
    process.record("p", &used, Event::Checked(Proof::Accepted));
    assert!(message(&process.record("p", &used, refused(Call::Check))).contains("does not accept"));
}

#[test]
fn t13_the_next_process_is_told_of_a_key_whose_other_secrets_were_refused() {
    let mut process = Process::new();
    for number in 0..FAILURES_MAX {
        let used = key("a", &number.to_string());
        process.begin("p", &used);
        process.record("p", &used, refused(Call::Check));
    }
    process.begin("q", &key("a", "untried"));
    let told = process.memory.refused_at("q", process.now.instant);
    assert_eq!(told, Some(("7".to_owned(), process.now.time)));
}

#[test]
fn t17_edits_of_a_provider_leave_nothing_behind() {
    let mut process = Process::new();
    for number in 0..1000 {
        let used = key("a", "right");
        let (version, destination) = (format!("v{number}"), number.to_string());
        let used =
            Used { source: Arc::new(Source { version, destination, ..(*used.source).clone() }), login: 0 };
        process.begin("p", &used);
        process.record("p", &used, Event::Checked(Proof::Accepted));
        let token = key(&format!("token {number}"), "t");
        process.begin("q", &token);
        process.record("q", &token, Event::Checked(Proof::Accepted));
    }
    let checks: usize =
        process.memory.principals["a"].secrets.values().map(|secret| secret.checks.len()).sum();
    assert!(checks <= 2 && process.memory.principals.len() <= 3, "{checks}");
}
