package oncehttp

// A problemKind is what all problems of a name have in common.
type problemKind struct {
	status    int
	retryable bool
	title     string
	detail    string
}

// problemKinds are all problems. It does not change.
var problemKinds = map[string]problemKind{
	ProblemKeyMissing: {
		status: 400, retryable: false,
		title: "Idempotency-Key is missing",
		detail: "This operation requires a key; send a unique one, and the same one with every " +
			"retry.",
	},
	ProblemKeyInvalid: {
		status: 400, retryable: false,
		title: "Idempotency-Key is not valid",
	},
	ProblemScopeRefused: {
		status: 403, retryable: false,
		title:  "The caller is unknown",
		detail: "A key can be used only by a caller who is known.",
	},
	ProblemRequestTooLarge: {
		status: 413, retryable: false,
		title:  "The request is too large",
		detail: "The body of a request with a key must be smaller. Nothing was done.",
	},
	ProblemRequestBroken: {
		status: 400, retryable: true,
		title:  "The request is incomplete",
		detail: "The body could not be read to its end. Nothing was done.",
	},
	ProblemStreamRefused: {
		status: 400, retryable: false,
		title: "The response could not be replayed",
		detail: "A request for an upgrade or an event stream cannot have a key. Nothing was " +
			"done.",
	},
	ProblemFirstSentInvalid: {
		status: 400, retryable: false,
		title:  "The time of the first try is not valid",
		detail: "It must be a date and not lie in the future.",
	},
	ProblemLate: {
		status: 412, retryable: false,
		title: "The retry comes too late",
		detail: "The first try was so long ago that nobody can tell any more if it succeeded. " +
			"Nothing was done now.",
	},
	ProblemKeyReused: {
		status: 422, retryable: false,
		title: "Idempotency-Key is already used",
		detail: "The key was sent before with a different request. Use a new key for a new " +
			"request.",
	},
	ProblemInFlight: {
		status: 409, retryable: true,
		title:  "A request is outstanding for this Idempotency-Key",
		detail: "Try again later with the same key to be given its outcome.",
	},
	ProblemInDoubt: {
		status: 500, retryable: false,
		title: "The outcome is in doubt",
		detail: "An earlier try broke off, and it is not known if it took effect. It is not " +
			"repeated until somebody has found out.",
	},
	ProblemResponseNotKept: {
		status: 410, retryable: false,
		title: "The response was not kept",
		detail: "The operation was done before, and is not repeated. Its response was too " +
			"large or too sensitive to be kept.",
	},
	ProblemResponseTooLarge: {
		status: 500, retryable: false,
		title:  "The response is too large to be recorded",
		detail: "The operation was broken off.",
	},
	ProblemRolledBack: {
		status: 503, retryable: true,
		title:  "The operation was rolled back",
		detail: "Nothing was done. Try again with the same key.",
	},
	ProblemOutcomeUnknown: {
		status: 503, retryable: true,
		title: "The outcome is unknown",
		detail: "The operation was run, but its outcome could not be recorded. Try again with " +
			"the same key; it is not repeated unless that is safe.",
	},
	ProblemStoreUnavailable: {
		status: 503, retryable: true,
		title:  "Operations cannot be recorded now",
		detail: "Nothing was done. Try again later with the same key.",
	},
	ProblemStoreFull: {
		status: 503, retryable: true,
		title:  "No more operations can be recorded now",
		detail: "Nothing was done. Try again later with the same key.",
	},
	ProblemUnreadable: {
		status: 500, retryable: false,
		title: "The record is unreadable",
		detail: "The operation was requested before, but the record of it cannot be read. It " +
			"is not repeated.",
	},
}
