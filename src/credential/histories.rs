//! What the core promises, over histories made by chance: providers that share a principal, edits, re-creations, replicas,
//! slow answers, and a service that counts.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

const REPLICAS: usize = 2;
const PROVIDERS: usize = 4;
const SECRETS: u8 = 5;

/// Something that happens.
#[derive(Debug, Clone)]
enum Deed {
    /// A replica reconciles a provider as far as it gets without waiting.
    Reconcile(usize, usize),
    /// The oldest call of a replica is answered, if the service is up.
    Answer(usize, bool),
    /// A replica sends an invocation through a provider that is ready, and its answer comes after this number of deeds.
    Invoke(usize, usize),
    /// The answer to the oldest invocation of a replica comes.
    InvocationAnswered(usize),
    /// A tenant puts a secret into the Secret of a provider.
    SetSecret(usize, u8),
    /// A tenant edits the spec of a provider.
    Edit(usize),
    /// A provider is deleted and created again.
    ReCreate(usize),
    /// The account's owner changes the secret.
    Rotate(u8),
    /// A process starts again.
    Restart(usize),
    Pass(u64),
}

fn deed() -> impl Strategy<Value = Deed> {
    let (replica, provider) = (0..REPLICAS, 0..PROVIDERS);
    prop_oneof![
        20 => (replica.clone(), provider.clone()).prop_map(|(r, p)| Deed::Reconcile(r, p)),
        20 => (replica.clone(), prop::bool::weighted(0.8)).prop_map(|(r, up)| Deed::Answer(r, up)),
        5 => (replica.clone(), provider.clone()).prop_map(|(r, p)| Deed::Invoke(r, p)),
        5 => replica.clone().prop_map(Deed::InvocationAnswered),
        5 => (provider.clone(), 0..SECRETS).prop_map(|(p, secret)| Deed::SetSecret(p, secret)),
        3 => provider.clone().prop_map(Deed::Edit),
        2 => provider.prop_map(Deed::ReCreate),
        1 => (0..SECRETS).prop_map(Deed::Rotate),
        1 => replica.prop_map(Deed::Restart),
        5 => (0_u64..400).prop_map(Deed::Pass),
    ]
}

/// A call under way, or an invocation, which counts as a check.
struct UnderWay {
    provider: usize,
    used: Used,
    sent: Instant,
    call: Call,
}

#[derive(Default)]
struct Replica {
    memory: Memory<()>,
    /// At most one call of each provider.
    calls: Vec<UnderWay>,
    invocations: Vec<UnderWay>,
}

struct World {
    lock: Lock,
    now: Moment,
    replicas: Vec<Replica>,
    /// The Secret and the version of the spec of each provider.
    providers: Vec<(u8, u32)>,
    versions: u32,
    right: u8,
    /// Failing calls of each replica, with each secret.
    failures: BTreeMap<(usize, u8), Vec<Instant>>,
}

impl World {
    fn new(lock: Lock) -> Self {
        let (instant, time) = (crate::clock::monotonic(), crate::clock::now());
        Self {
            lock,
            now: Moment { instant, time, chance: 7 },
            replicas: (0..REPLICAS).map(|_| Replica::default()).collect(),
            providers: (0..PROVIDERS).map(|n| (0, u32::try_from(n).unwrap())).collect(),
            versions: 100,
            right: 1,
            failures: BTreeMap::new(),
        }
    }

    fn source(&self, provider: usize) -> Arc<Source> {
        let (secret, version) = self.providers[provider];
        Arc::new(Source {
            version: format!("{secret} {version}"),
            resource_version: None,
            principal: Principal { id: "id".into(), secret: secret.to_string() },
            project_principal: Principal { id: "id".into(), secret: secret.to_string() },
            lock: self.lock,
            destination: provider.to_string(),
            is_exchanged: self.lock == Lock::Password,
            project: Some("project".into()),
            name: String::new(),
            remedy: String::new(),
        })
    }

    fn key(provider: usize) -> Arc<str> {
        provider.to_string().into()
    }

    /// As the shell does: one call of a principal at a time. That of all providers is the same.
    fn reconcile(&mut self, replica: usize, provider: usize) -> Step {
        let source = self.source(provider);
        let Replica { memory, calls, .. } = &mut self.replicas[replica];
        let key = Self::key(provider);
        if calls.iter().any(|call| call.provider == provider) {
            return memory.decide(&key, &self.now);
        }
        memory.begin(&key, &source, None, self.now.instant);
        let step = memory.decide(&key, &self.now);
        let (call, login) = match &step {
            Step::LogIn => (Call::LogIn, 0),
            Step::FindProject(login) => (Call::FindProject, *login),
            Step::Check(login, _) => (Call::Check, *login),
            Step::Use(_) | Step::Stop(_) => return step,
        };
        if calls.is_empty() {
            calls.push(UnderWay { provider, used: Used { source, login }, sent: self.now.instant, call });
        }
        step
    }

    fn answer(&mut self, replica: usize, is_up: bool) {
        let Replica { memory, calls, .. } = &mut self.replicas[replica];
        if calls.is_empty() {
            return;
        }
        let UnderWay { provider, used, sent, call } = calls.remove(0);
        let secret: u8 = used.source.principal.secret.parse().unwrap();
        let event = match call {
            _ if !is_up => Event::Failed(call, Failure::Passing("down".into(), None)),
            // A token outlives the password.
            Call::Check if used.source.is_exchanged => Event::Checked(Proof::Accepted),
            _ if secret != self.right => {
                self.failures.entry((replica, secret)).or_default().push(self.now.instant);
                Event::Refused(call, "no".into())
            }
            Call::LogIn => {
                let login = Login {
                    credential: (),
                    expires_at: Some(self.now.time + Duration::from_mins(10)),
                    renew_at: self.now.time + Duration::from_mins(5),
                    project: None,
                };
                memory.logged_in(&Request { provider: &Self::key(provider), used: &used, sent }, login);
                return;
            }
            Call::FindProject | Call::Check => Event::Checked(Proof::Accepted),
        };
        let key = Self::key(provider);
        memory.record(&Request { provider: &key, used: &used, sent }, event, &self.now);
    }

    fn invoke(&mut self, replica: usize, provider: usize) {
        if let Step::Use(in_use) = self.reconcile(replica, provider) {
            let used = Used { source: self.source(provider), login: in_use.login };
            let sent = self.now.instant;
            let invocation = UnderWay { provider, used, sent, call: Call::Check };
            self.replicas[replica].invocations.push(invocation);
        }
    }

    /// The service looked at the key when the request came.
    fn invocation_answered(&mut self, replica: usize) {
        let Replica { memory, invocations, .. } = &mut self.replicas[replica];
        if !invocations.is_empty() {
            let UnderWay { provider, used, sent, .. } = invocations.remove(0);
            memory.answered(&Request { provider: &Self::key(provider), used: &used, sent });
        }
    }

    fn happen(&mut self, deed: &Deed) {
        match *deed {
            Deed::Reconcile(replica, provider) => drop(self.reconcile(replica, provider)),
            Deed::Answer(replica, is_up) => self.answer(replica, is_up),
            Deed::Invoke(replica, provider) => self.invoke(replica, provider),
            Deed::InvocationAnswered(replica) => self.invocation_answered(replica),
            Deed::SetSecret(provider, secret) => self.providers[provider].0 = secret,
            Deed::Edit(provider) => {
                self.versions += 1;
                self.providers[provider].1 = self.versions;
            }
            Deed::ReCreate(provider) => {
                for replica in &mut self.replicas {
                    replica.memory.forget(&Self::key(provider), self.now.instant);
                }
                self.happen(&Deed::Edit(provider));
            }
            Deed::Rotate(secret) => self.right = secret,
            // What it did counts for the process before it.
            Deed::Restart(replica) => {
                self.replicas[replica] = Replica::default();
                self.failures.retain(|(of, _), _| *of != replica);
            }
            Deed::Pass(seconds) => {
                self.now.instant += Duration::from_secs(seconds);
                self.now.time += Duration::from_secs(seconds);
            }
        }
    }

    /// No process makes more failing calls within the window than it promises.
    fn assert_bounded(&self) {
        let is_recent = |at: &&Instant| self.now.instant.duration_since(**at) < self.lock.window();
        for replica in 0..REPLICAS {
            let of_replica = self.failures.iter().filter(|((of, _), _)| *of == replica);
            let mut all = 0;
            for ((_, secret), failures) in of_replica {
                let recent = failures.iter().filter(is_recent).count();
                // A success of another secret of an access key ends the count, for the gateway as well.
                let most = if self.lock == Lock::Password { 1 } else { FAILURES_MAX };
                assert!(recent <= most, "secret {secret}: {recent}");
                all += recent;
            }
            let success_ends_the_count = self.lock == Lock::AccessKey;
            // One more with the secret that was accepted last.
            assert!(success_ends_the_count || all <= FAILURES_MAX + 1, "{all} failures");
        }
    }

    /// Once all is well, every provider is ready in the end.
    fn assert_ends_well(&mut self) {
        for (secret, _) in &mut self.providers {
            *secret = self.right;
        }
        for _ in 0..8 {
            for replica in 0..REPLICAS {
                for provider in 0..PROVIDERS {
                    self.answer(replica, true);
                    self.reconcile(replica, provider);
                }
            }
        }
        self.happen(&Deed::Pass(1000));
        for _ in 0..40 {
            for replica in 0..REPLICAS {
                for provider in 0..PROVIDERS {
                    self.answer(replica, true);
                    self.reconcile(replica, provider);
                }
            }
        }
        for replica in 0..REPLICAS {
            for provider in 0..PROVIDERS {
                let step = self.reconcile(replica, provider);
                assert!(matches!(step, Step::Use(_)), "replica {replica}, provider {provider}: {step:?}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn t13_t22_whatever_happens_few_calls_fail_and_all_ends_well(
        lock in prop_oneof![Just(Lock::AccessKey), Just(Lock::Password)],
        deeds in prop::collection::vec(deed(), 0..200),
    ) {
        let mut world = World::new(lock);
        for deed in &deeds {
            world.happen(deed);
            world.assert_bounded();
        }
        world.assert_ends_well();
    }
}
