/* The parts of a fleet, for its own files alone.
 *
 *   fleet.c            its life, the clock, syncs
 *   fleet_role.c       who routes by what: applying, alone, the lock, active and standby
 *   fleet_keeper.c     the keeper: votes, deciding, publishing, handing over
 *   fleet_base.c       what a keeper begins with, and what it carries along
 *   fleet_members.c    what is known of the others, and the view that they get
 *   fleet_requests.c   requests of operators
 *   fleet_save.c       to another process and back
 *   fleet_tell.c       what is shown
 *
 * Each call from outside is between fleet_enter() and fleet_finish(). The first looks at the clock:
 * a process that was stopped hears of that before anything else. The second draws the consequences:
 * decisions, a sync if there are news, the next tick. What happens in between only takes notes.
 *
 * Role and `apart`: a member is apart if it routes by its own decisions, from its start on, or
 * since it has lost the store; only a newer publication ends that.
 *
 *               applies one                 takes the lock
 *    ALONE  -------------------> FOLLOWER ------------------> KEEPER
 *    apart  <-------------------          <------------------
 *      |      no answer for T                loses it          ^
 *      '-------------------------------------------------------'
 *                 takes the lock: apart, and settles, until its first publication
 *
 * All *_ms are of CLOCK_BOOTTIME (ops.boot_ms) if nothing else is said. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "cluster/fleet.h"
#include "cluster/lock.h"
#include "cluster/peers.h"
#include "cluster/state.h"
#include "cluster/view.h"
#include "cluster/votes.h"
#include "pool/digest.h"
#include "pool/standings.h"

#define NEVER UINT64_MAX
#define SPACING_MS 20          /* syncs that hints ask for are at least so far apart */
#define SPACING_OF_MEMBER_MS 2 /* the same of a claim, for each other member */
#define RETRY_MS 50            /* the shortest wait after a call whose outcome is unknown */
#define REQUEST_MS 2000        /* an operator waits so long at most */
/* The process that takes this one's place begins with numbers that are so much higher, and this one
 * goes on with twice as much if the other fails: so none is ever used by both. */
#define RESUME_LEAP (1u << 20)
#define ASKS_MAX 200       /* below VIEW_MAX_ASKS */
#define PATIENCE_MS 300000 /* the longest wait before the role is offered once more */
#define QUIET_MS 10000     /* what others can cause at will is told so often at most */
#define REACH_TELLS 4      /* so often in that time it is told that the store comes and goes */
/* Results of requests, as members of all versions know them. */
#define DONE_OK "ok"
#define DONE_DOWN "down"       /* failback of a server that is down */
#define DONE_UNKNOWN "unknown" /* the keeper has no such server */

/* A call of the store that is under way. */
struct call {
    struct list link;
    struct fleet *fleet;
    uint64_t start_ms;
    uint64_t epoch;         /* of the lock that was believed in; 0: none */
    struct version version; /* in text */
    char *text;             /* a view or a body; NULL: none */
    size_t len;
    char *news; /* sync: what of the view is a hint's affair */
};

/* A request of an operator that no publication has carried out. */
struct ask {
    uint64_t number, made_ms; /* made: wall clock */
    char *pool, *server;
    enum fleet_verb verb;
    fleet_requested_fn *done; /* NULL: answered already */
    void *arg;
    uint64_t deadline_ms;
};

/* What the keeper wants to publish about a server, told once it is stored. */
struct change {
    char *pool, *server;
    const char *what;
    bool voted;
    struct fleet_votes votes;
    char accuse[160];
};

struct part { /* a pool of the generation in service */
    struct roster *roster;
    struct pool *pool;
    char digest[DIGEST_SIZE];
    bool *claimed;       /* a server each: the roster was told that others say down */
    bool *told, *saying; /* a server each: the last view answered, under way, said down */
    /* the keeper's, NULL before it decides */
    struct standings *work;      /* what it wants */
    struct standings *published; /* what it has published last, or is about to */
    struct tally *tallies;
    bool *decided; /* a server each: by votes, since the last publication */
};

/* An entry of the last publication that the keeper does not know. All of them: ascending by pool,
 * then by server. */
struct carried {
    char *pool, *server;
    uint64_t listed_ms; /* when a live view listed it last */
    bool gone;
};

struct wait_of { /* struct state_node at the keeper */
    char *node;
    uint64_t wait_ms, lost_ms;
};

struct done_of { /* struct state_done at the keeper */
    char instance[INSTANCE_SIZE];
    uint64_t number;
    char *result;
};

/* What was told of another node. */
struct note {
    char *node;
    char instance[INSTANCE_SIZE];
    uint64_t c;      /* of the view that was looked at */
    bool heard;      /* it had one */
    uint64_t new_ms; /* when it was told that it is there */
    bool accepts;    /* the last one of it, of whichever instance, said so, and `active` */
    enum peer_life life;
    char **differs; /* pools of which it has another configuration */
    size_t ndiffers;
};

struct fleet {
    /* settings */
    char *name, *node;
    uint64_t ttl_ms, sync_ms, deadline_ms; /* T, S, C: of the lock, between syncs, of an answer */
    bool listen_active, preempt;
    uint32_t priority;
    char instance[INSTANCE_SIZE];
    struct fleet_ops ops;
    struct store *store;
    struct store_events events;
    struct random_store *random;
    uint64_t jitter;

    /* life */
    unsigned depth; /* of calls from outside */
    uint64_t now_ms;
    uint64_t due_ms; /* when the next tick was asked for */
    bool started, checked, joined, frozen, left;
    uint64_t started_ms, checked_ms;
    struct list calls;
    struct call *leaving; /* the release of fleet_leave() */
    void (*on_left)(void *arg);
    void *left_arg;
    uint64_t left_ms;

    struct part *parts;
    size_t nparts;

    /* role */
    enum fleet_role role;
    uint64_t role_since_ms;
    bool apart;
    uint64_t followed_ms; /* since when it is not apart */
    bool active, accepting;
    bool announce;              /* another one, that had accepted, does so no more */
    bool wished;                /* a wish was told */
    char before[INSTANCE_SIZE]; /* the process before, where this one can't go on as the same */
    char *holder;               /* node of the lock's last holder that was heard of; NULL: none */
    bool lock_is_free;          /* by the last answer */
    char holder_instance[INSTANCE_SIZE];

    /* the publication */
    struct version version; /* {0}: none */
    char *body;
    size_t body_len;
    struct state *state; /* of body */
    uint64_t applied_ms;
    bool unapplied;         /* it came before the first checks were over */
    struct version refused; /* the last one that can't be read */

    /* syncs */
    struct call *sync; /* under way */
    bool again, wanted;
    bool reached_since; /* the store has become reachable since that one began */
    uint64_t n, last_sync_ms, contact_ms;
    bool contacted, reached, reach_known;
    bool reach_told, told_reached; /* whether, and what, was told of that last */
    uint64_t reach_told_ms;        /* the first time of this QUIET_MS */
    unsigned reach_tells;          /* in it */
    char reach_why[256];
    uint64_t sync_at_ms, hint_at_ms;
    char *sent, *news;   /* the view that was answered last; NULL: none, or the store lost it */
    struct version said; /* the version in it */
    uint64_t own_c, known_c, resent_ms;
    struct view own; /* what this member sees; sorted. Made anew by fleet_electorate() */
    struct view_server *own_servers;
    bool told_own_view, told_own_state; /* that they are beyond their bounds */
    uint64_t answer_told_ms, view_told_ms;

    /* the others */
    struct peers *peers;
    struct note *notes; /* ascending by node */
    size_t nnotes;
    bool recount;        /* something that decisions follow from has changed */
    bool recount_claims; /* the same of roster_claim() */
    bool compare_all;    /* this member's configuration is new */
    uint64_t twice_ms;   /* when another process was last seen under the own node */
    unsigned twice;      /* how often, lately */
    struct {
        uint64_t hash, ms; /* of node and reason; when it came last */
    } refused_views[32];
    size_t refused_at; /* the next to be overwritten */

    /* the lock */
    struct lock lock;
    struct call *acquiring;
    uint64_t acquire_at_ms;
    bool acquire_offered, offered; /* the attempt, or the lock, came by an offer */

    /* the keeper */
    uint64_t settle_until_ms; /* 0: it does not settle */
    bool need_body, has_work, published_valid, dirty;
    struct call *publishing;
    uint64_t seq, publish_at_ms, refreshed_ms, offered_ms, keeper_since_ms;
    uint64_t unfit_ms;              /* since when it is blind or not ready; NEVER: it is fit */
    uint64_t refresh_wait_ms;       /* before it publishes for a member that is alone once more */
    char offered_to[INSTANCE_SIZE]; /* as told */
    bool consider;                  /* whom to hand over to: there was an answer */
    char *loser; /* the node that had the lock before, and did not offer it; or NULL */
    struct change *changes;
    size_t nchanges;
    struct done_of *done;
    size_t ndone;
    struct wait_of *waits;
    size_t nwaits;
    struct carried *carried;
    size_t ncarried;

    /* requests */
    struct ask *asks; /* ascending by number */
    size_t nasks;
    uint64_t asked; /* the last number */
    uint64_t last_made_ms;

    uint64_t publications, restored, stalls, locks_lost;
    uint64_t refused_state, refused_view, refused_answer;
};

/* ---- fleet.c ---- */

void fleet_enter(struct fleet *f);
void fleet_finish(struct fleet *f);
/* Owned by the fleet until it is answered: fleet_call_end(). */
struct call *fleet_call(struct fleet *f);
void fleet_call_end(struct call *c);
void fleet_parts_drop(struct fleet *f);
void fleet_left(struct fleet *f);

/* ---- fleet_role.c ---- */

void fleet_spread(struct fleet *f);
void fleet_apply(struct fleet *f);
void fleet_adopt(struct fleet *f, const struct version *v, char *body, size_t len, struct state *s);
void fleet_take(struct fleet *f, const struct version *v, struct str body);
void fleet_restore(struct fleet *f);
void fleet_part(struct fleet *f);
void fleet_lost(struct fleet *f, const char *reason);
void fleet_heard_of_lock(struct fleet *f, const struct call *c, const struct store_synced *a);
void fleet_candidate(struct fleet *f, const struct store_synced *a);
void fleet_acquire(struct fleet *f);
void fleet_wishes(struct fleet *f);

/* ---- fleet_keeper.c ---- */

void fleet_keeper_reset(struct fleet *f);
void fleet_keeper_drop(struct fleet *f);
uint64_t fleet_keeper_next(const struct fleet *f);
void fleet_decide(struct fleet *f);
void fleet_ignored(void *arg, const bool *yes); /* arg: the call */

/* ---- fleet_base.c ---- */

void fleet_keeper_begin(struct fleet *f);
void fleet_begin_work(struct fleet *f, bool settled);
void fleet_rebuild_work(struct fleet *f, const struct part *old, size_t nold);
void fleet_carry_out(struct fleet *f, uint64_t loop_ms);
void fleet_carry_along(struct fleet *f);
uint64_t fleet_patience(const struct fleet *f, const char *node);
/* The bytes of the next publication. NULL: *e says why. */
char *fleet_assemble(struct fleet *f, size_t *len, struct error *e);
void fleet_base_drop(struct fleet *f);

/* ---- fleet_members.c ---- */

/* Looks at the rosters, too: f->own is as of now. */
struct electorate fleet_electorate(struct fleet *f);
struct ballot fleet_ballot(const struct fleet *f, const struct part *p);
void fleet_say(struct fleet *f, struct call *c, struct store_sync *r);
void fleet_said(struct fleet *f);
void fleet_observe(struct fleet *f, const struct store_synced *a);
/* Tells the rosters which servers others say are down, as of now. */
void fleet_claims(struct fleet *f);
void fleet_digests(struct fleet *f);
void fleet_forget(struct fleet *f);
const struct note *fleet_note(const struct fleet *f, const char *node);
void fleet_members_drop(struct fleet *f);

/* ---- fleet_requests.c ---- */

uint64_t fleet_requests_next(const struct fleet *f);
void fleet_requests_due(struct fleet *f);
void fleet_requests_done(struct fleet *f);
void fleet_requests_hold(struct fleet *f);
void fleet_requests_alone(struct fleet *f);
void fleet_requests_check(struct fleet *f);
void fleet_requests_leave(struct fleet *f);
void fleet_requests_give_up(struct fleet *f);
void fleet_requests_drop(struct fleet *f);

/* ---- fleet_save.c ---- */

void fleet_resume(struct fleet *f, const char *text);
void fleet_resume_lock(struct fleet *f, const struct lock *before);

/* ---- fleet_tell.c ---- */

void fleet_tell(struct fleet *f, const struct fleet_notice *n);
