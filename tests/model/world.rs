//! What surrounds the protocol in one run of the model: the object's spec, what others do to it, and how often.

use crate::object::Note;

/// The protocol as it is built, or broken in one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// As it is built.
    AsBuilt,
    /// The request goes first, the status after it.
    SendFirst,
    /// The claim carries no resourceVersion.
    BlindClaim,
    /// A restarted process has its predecessor's name and takes up its claims.
    HolderIsPodName,
    /// A request that is not answered in time counts as not sent.
    TimeoutIsRetried,
    /// A claim that is taken over is sent again.
    TakeoverSends,
    /// A claim that is being handed back may be taken for a fresh one.
    HandBackIsForgotten,
    /// An own attempt that was begun is handed back.
    SentIsHandedBack,
    /// The journal forgets an attempt whose object is still there.
    SentIsForgotten,
    /// A claim that is found by reading the object counts, whether or not it was sent.
    ReadClaimIsUnsent,
    /// A claim that is found by reading the object counts, whatever it says is sent and where to.
    ReadClaimIsAnyClaim,
    /// What is suspended, cancelled or deleted by the time of the claim's answer is sent all the same.
    ClaimIsNotRead,
    /// A later attempt sends whatever the event is by then.
    AnyEventIsSent,
    /// An empty list means that the request was not accepted.
    EmptyListIsProof,
    /// A request in the list is taken for the attempt's own.
    ListNamesTheRequest,
    /// An annotation that is there at the claim, or when the attempt becomes ambiguous, is not noted as handled.
    AnnotationIsNotNoted,
    /// Any text is taken for a request id.
    AnyTextIsAnId,
    /// A request id that a user typed is followed.
    TypedIdIsFollowed,
    /// What comes after an attempt goes to where the provider leads today.
    TodaysProviderIsAsked,
    /// `AtLeastOnce` does not count ambiguous attempts.
    AmbiguousIsNotCounted,
    /// Nobody takes over a claim of a process that is gone.
    NobodyTakesOver,
}

/// Something that somebody else does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Act {
    /// A user sets the annotation that resolves an ambiguous attempt.
    Annotate(Note),
    /// A user removes it.
    Unannotate,
    /// A user sets `spec.suspend`, or clears it.
    Suspend(bool),
    /// A user sets `spec.cancel`.
    Cancel,
    /// A user deletes the object, which stays for somebody's finalizer.
    Delete,
    /// The object goes, and another of the same name comes.
    Recreate,
    /// A user changes the event in the object.
    EditEvent,
    /// Somebody changes the ConfigMap that holds the event.
    EditSource,
    /// The provider's owner changes where it leads.
    EditProvider,
    /// Somebody writes to the object without changing anything that matters.
    Touch,
}

/// What the object asks for, what surrounds it, and how much may happen in one history.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a setting of its own")]
pub struct World {
    /// Its name.
    pub name: &'static str,
    /// `spec.deliveryPolicy` is `AtLeastOnce`, with this `backoffLimit`.
    pub at_least_once: Option<u8>,
    /// `spec.completionPolicy` is `Executed`.
    pub followed: bool,
    /// The provider says `lookup.enabled`.
    pub lookup: bool,
    /// The event is in a ConfigMap.
    pub external: bool,
    /// The object is a copy of one that was accepted and resolved.
    pub copied: bool,
    /// The annotation that is there from the beginning.
    pub note: Option<Note>,
    /// Clocks go wrong.
    pub clocks: bool,
    /// What others may do.
    pub acts: &'static [Act],
    /// How often they may.
    pub most_acts: u8,
    /// How many attempts may be made.
    pub attempts: u8,
    /// How often a process may die.
    pub crashes: u8,
    /// How many versions the cache of a process may lag behind.
    pub lag: u8,
    /// A process may forget what it remembers of an attempt that is over, at any moment.
    pub forgets: bool,
    /// A request may fail before it leaves.
    pub not_sent: bool,
    /// How many writes may be on their way whose sender has given up on them.
    pub late_writes: usize,
}

// === impl World ===

impl World {
    /// Two replicas, an object, and nobody else.
    pub const PLAIN: Self = Self {
        name: "plain",
        at_least_once: None,
        followed: false,
        lookup: false,
        external: false,
        copied: false,
        note: None,
        clocks: false,
        acts: &[],
        most_acts: 0,
        attempts: 2,
        crashes: 1,
        lag: u8::MAX,
        forgets: true,
        not_sent: true,
        late_writes: 1,
    };

    /// The same in short, for surroundings in which more happens.
    const SHORT: Self =
        Self { crashes: 0, lag: 1, forgets: false, not_sent: false, late_writes: 0, ..Self::PLAIN };

    /// A user asks for another attempt, also when there is nothing to resolve.
    pub const RESOLVED: Self = Self {
        name: "resolved",
        lookup: true,
        acts: &[Act::Annotate(Note::Retry), Act::Unannotate],
        most_acts: 2,
        ..Self::SHORT
    };

    /// A user says what became of the attempt, or mistypes it.
    pub const ANSWERED: Self = Self {
        name: "answered",
        acts: &[
            Act::Annotate(Note::Fail),
            Act::Annotate(Note::Id),
            Act::Annotate(Note::Typo),
            Act::Unannotate,
        ],
        attempts: 1,
        ..Self::RESOLVED
    };

    /// The annotation is there from the beginning.
    pub const ANNOTATED: Self = Self { name: "annotated", note: Some(Note::Retry), ..Self::RESOLVED };

    /// A copy of an object that was accepted and resolved.
    pub const COPIED: Self = Self { name: "copied", copied: true, ..Self::ANNOTATED };

    /// A user edits the object, and the owner of the provider edits that.
    pub const EDITED: Self = Self {
        name: "edited",
        acts: &[
            Act::Suspend(true),
            Act::Suspend(false),
            Act::Cancel,
            Act::Delete,
            Act::EditEvent,
            Act::EditProvider,
        ],
        most_acts: 2,
        ..Self::SHORT
    };

    /// The object goes, and another of its name comes.
    pub const RECREATED: Self = Self {
        name: "re-created",
        acts: &[Act::Recreate],
        most_acts: 1,
        attempts: 1,
        late_writes: 1,
        ..Self::SHORT
    };

    /// The event is in a ConfigMap, which somebody edits.
    pub const EXTERNAL: Self = Self {
        name: "external",
        external: true,
        acts: &[Act::EditSource, Act::EditProvider],
        most_acts: 2,
        late_writes: 1,
        ..Self::SHORT
    };

    /// The execution is followed.
    pub const FOLLOWED: Self = Self {
        name: "followed",
        followed: true,
        acts: &[
            Act::EditProvider,
            Act::Cancel,
            Act::Annotate(Note::Id),
            Act::Annotate(Note::Fail),
            Act::Annotate(Note::Retry),
        ],
        most_acts: 2,
        attempts: 1,
        lookup: true,
        ..Self::SHORT
    };

    /// Clocks go wrong.
    pub const CLOCKS: Self = Self {
        name: "clocks",
        clocks: true,
        acts: &[Act::Suspend(true), Act::Suspend(false)],
        most_acts: 2,
        ..Self::SHORT
    };

    /// What is ambiguous is sent again.
    pub const AT_LEAST_ONCE: Self =
        Self { name: "at least once", at_least_once: Some(1), attempts: 3, crashes: 1, ..Self::SHORT };

    /// All the worlds whose every history is looked at.
    pub const ALL: [Self; 11] = [
        Self::PLAIN,
        Self::RESOLVED,
        Self::ANSWERED,
        Self::ANNOTATED,
        Self::COPIED,
        Self::EDITED,
        Self::RECREATED,
        Self::EXTERNAL,
        Self::FOLLOWED,
        Self::CLOCKS,
        Self::AT_LEAST_ONCE,
    ];

    /// The same with room for long histories, in which everything may happen.
    pub const fn at_large(self) -> Self {
        const EVERYTHING: &[Act] = &[
            Act::Annotate(Note::Retry),
            Act::Annotate(Note::Fail),
            Act::Annotate(Note::Id),
            Act::Annotate(Note::Typo),
            Act::Unannotate,
            Act::Suspend(true),
            Act::Suspend(false),
            Act::Cancel,
            Act::Delete,
            Act::Recreate,
            Act::EditEvent,
            Act::EditSource,
            Act::EditProvider,
            Act::Touch,
        ];
        Self { acts: EVERYTHING, most_acts: 8, attempts: 4, crashes: 3, late_writes: 2, clocks: true, ..self }
    }

    /// How many acceptances are promised at most, as long as nobody asks for more.
    pub fn most_accepted(&self) -> u8 {
        self.at_least_once.map_or(1, |limit| limit + 1)
    }
}
