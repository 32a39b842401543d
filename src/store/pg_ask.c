/* What many callers ask at the same time, in one trip to the database and one transaction: where logs end, then scans of the
 * ledger. The heads come first, and all scans are one statement, so a round (ledger_round.h) is in order. */
#include "base/must.h"
#include "store/ledger_rule.h"
#include "store/pg_priv.h"

enum {
    ASK_HEADS_MOST = 2000, ASK_SCANS_MOST = 192,  /* what one trip begins with at most, but for its last request */
    SCAN_LOOK_MOST = 10000,                       /* rows; SQL_SCAN_ROWS names it too */
    KEY_SCRATCH = LEDGER_KEY_BYTES_MAX + 1,
};

void asked_init(struct pg_asked *asked)
{
    *asked = (struct pg_asked){ 0 };
    list_init(&asked->questions);
    list_init(&asked->rounds);
    list_init(&asked->scans);
}

static bool asked_has_room(const struct pg_asked *asked)
{
    return asked->head_count < ASK_HEADS_MOST && asked->scan_count < ASK_SCANS_MOST;
}

static size_t asked_take_rounds(struct pg_asked *asked, struct list *from)
{
    struct list *at;
    size_t       count = 0;

    for (; asked_has_room(asked) && (at = list_pop(from)) != NULL; count++) {
        struct ledger_round *round = container_of(at, struct ledger_round, link);
        asked->head_count += round->heads.count;
        asked->scan_count += round->read_count;
        list_push(&asked->rounds, at);
    }
    return count;
}

static size_t asked_take_scans(struct pg_asked *asked, struct list *from)
{
    struct list *at;
    size_t       count = 0;

    for (; asked_has_room(asked) && (at = list_pop(from)) != NULL; count++) {
        asked->scan_count++;
        list_push(&asked->scans, at);
    }
    return count;
}

static size_t asked_take_questions(struct pg_asked *asked, struct list *from)
{
    struct list *at;
    size_t       count = 0;

    for (; asked_has_room(asked) && (at = list_pop(from)) != NULL; count++) {
        asked->head_count += container_of(at, struct store_heads, link)->count;
        list_push(&asked->questions, at);
    }
    return count;
}

size_t asked_take(struct pg_asked *asked, struct pg_lists *lists)
{
    size_t count = asked_take_rounds(asked, &lists->rounds);

    count += asked_take_scans(asked, &lists->scans);
    return count + asked_take_questions(asked, &lists->questions);
}

/* --- all of a kind, in the order in which they are sent and answered -------------------------------------------------- */

static void each_question(struct pg_asked *asked, void (*visit)(struct store_heads *question, void *ctx), void *ctx)
{
    for (struct list *at = asked->rounds.next; at != &asked->rounds; at = at->next)
        visit(&container_of(at, struct ledger_round, link)->heads, ctx);
    for (struct list *at = asked->questions.next; at != &asked->questions; at = at->next)
        visit(container_of(at, struct store_heads, link), ctx);
}

static void each_scan(struct pg_asked *asked, void (*visit)(struct ledger_read *read, void *ctx), void *ctx)
{
    for (struct list *at = asked->rounds.next; at != &asked->rounds; at = at->next) {
        struct ledger_round *round = container_of(at, struct ledger_round, link);
        for (size_t i = 0; i < round->read_count; i++)
            visit(&round->of[i].read, ctx);
    }
    for (struct list *at = asked->scans.next; at != &asked->scans; at = at->next)
        visit(container_of(at, struct ledger_read, link), ctx);
}

/* --- sending -------------------------------------------------------------------------------------------------------- */

struct ask_args {
    struct pg_args *args;
    int64_t         at;  /* how many came before */
};

static void push_question(struct store_heads *question, void *ctx)
{
    struct ask_args *to = ctx;

    for (size_t i = 0; i < question->count; i++)
        pg_push_place(to->args, question->names[i], question->wall, to->at++);
}

static int64_t bytes_most(const struct ledger_read *read)
{
    return read->bytes_max > INT64_MAX ? INT64_MAX : (int64_t)read->bytes_max;
}

/* The first key that a scan looks for. */
static struct span scan_low(const struct ledger_read *read, char scratch[KEY_SCRATCH])
{
    if (read->after.len == 0 || ledger_key_order(read->after, read->prefix) < 0)
        return read->prefix;
    memcpy(scratch, read->after.at, read->after.len);
    scratch[read->after.len] = '\0';
    return span_of(scratch, read->after.len + 1);
}

/* The first key above all that begin with the prefix. It is above all keys if there is no other. */
static struct span scan_high(const struct ledger_read *read, char scratch[KEY_SCRATCH])
{
    size_t len = read->prefix.len;

    while (len > 0 && (unsigned char)read->prefix.at[len - 1] == UINT8_MAX)
        len--;
    if (len == 0) {
        memset(scratch, UINT8_MAX, KEY_SCRATCH);
        return span_of(scratch, KEY_SCRATCH);
    }
    memcpy(scratch, read->prefix.at, len);
    scratch[len - 1] = (char)((unsigned char)scratch[len - 1] + 1);
    return span_of(scratch, len);
}

static void push_scan(struct ledger_read *read, void *ctx)
{
    struct ask_args *to = ctx;
    char             scratch[KEY_SCRATCH];

    pg_push_i64(to->args, 0, read->kind);
    pg_push_bytes(to->args, 1, scan_low(read, scratch));
    pg_push_bytes(to->args, 2, scan_high(read, scratch));
    pg_push_i64(to->args, 3, (int64_t)read->limit + 1);
    pg_push_i64(to->args, 4, bytes_most(read));
    pg_push_i64(to->args, 5, read->wall);
    pg_push_i64(to->args, 6, to->at++);
}

static void pg_ask_start(struct pg_lane *lane)
{
    struct ask_args heads = { .args = &lane->args }, scans = { .args = &lane->args };

    if (lane->asked.head_count > 0) {
        pg_args_clear(&lane->args);
        pg_args_arrays(&lane->args, "biii");
        each_question(&lane->asked, push_question, &heads);
        lane_send(lane, SQL_PLACES);
    }
    if (lane->asked.scan_count > 0) {
        pg_args_clear(&lane->args);
        pg_args_arrays(&lane->args, "ibbiiii");
        each_scan(&lane->asked, push_scan, &scans);
        lane_send(lane, SQL_SCAN_ROWS);
    }
    lane_sync(lane);
}

/* --- the answers ---------------------------------------------------------------------------------------------------- */

struct ask_answers {
    const PGresult *rows;
    int             row;     /* the first that is not used yet */
    int64_t         number;  /* of the channel, or the scan */
};

static bool row_is_of(const struct ask_answers *from, int64_t number)
{
    return from->row < PQntuples(from->rows) && pg_i64(from->rows, from->row, 0) == number;
}

static void ask_take_heads(struct store_heads *question, void *ctx)
{
    struct ask_answers *from = ctx;

    for (size_t i = 0; i < question->count; i++, from->number++) {
        must(row_is_of(from, from->number));
        uint64_t first     = (uint64_t)pg_i64(from->rows, from->row, 3);
        question->heads[i] = (struct store_head){
            .rc = RC_OK, .epoch = (uint64_t)pg_i64(from->rows, from->row, 1), .head = (uint64_t)pg_i64(from->rows, from->row, 2),
            .first = first == 0 ? 1 : first,
        };
        from->row++;
    }
}

static void scan_take_row(struct ledger_page *page, const PGresult *rows, int i)
{
    struct ledger_row row = { .key = pg_bytes(rows, i, 1), .generation = (uint64_t)pg_i64(rows, i, 2),
                              .expires_at = pg_i64(rows, i, 3), .value = pg_bytes(rows, i, 4) };

    if (ledger_generation(row.generation, row.expires_at, page->read->wall) == 0)
        ledger_page_skip(page);
    else
        ledger_page_put(page, &row);
}

/* One row more than the page takes says that there is another page. */
static void take_scan(struct ledger_read *read, void *ctx)
{
    struct ask_answers *from = ctx;
    struct ledger_page  page;
    int                 last = -1;

    ledger_page_init(&page, read);
    for (; row_is_of(from, from->number) && !ledger_page_is_full(&page); last = from->row++)
        scan_take_row(&page, from->rows, from->row);
    bool has_more = row_is_of(from, from->number) || (last >= 0 && pg_i64(from->rows, last, 5) == SCAN_LOOK_MOST);
    if (has_more)
        ledger_page_continue(&page, pg_bytes(from->rows, last, 1));
    ledger_page_finish(&page, RC_OK);
    while (row_is_of(from, from->number))
        from->row++;
    from->number++;
}

static void ask_take(struct pg_lane *lane)
{
    struct ask_answers places = { .rows = lane->results[0] };
    struct ask_answers rows   = { .rows = lane->results[lane->asked.head_count > 0] };

    if (lane->asked.head_count > 0)
        each_question(&lane->asked, ask_take_heads, &places);
    if (lane->asked.scan_count > 0)
        each_scan(&lane->asked, take_scan, &rows);
}

/* Their owners may ask more, or free them, as soon as they know. */
static void ask_answer(struct pg_lane *lane)
{
    struct pg_asked answered;
    struct list    *at;

    asked_init(&answered);
    list_move(&answered.questions, &lane->asked.questions);
    list_move(&answered.rounds, &lane->asked.rounds);
    list_move(&answered.scans, &lane->asked.scans);
    asked_init(&lane->asked);
    lane_release(lane);
    while ((at = list_pop(&answered.rounds)) != NULL) {
        struct ledger_round *round = container_of(at, struct ledger_round, link);
        round->done(round);
    }
    while ((at = list_pop(&answered.scans)) != NULL) {
        struct ledger_read *read = container_of(at, struct ledger_read, link);
        read->done(read);
    }
    while ((at = list_pop(&answered.questions)) != NULL) {
        struct store_heads *question = container_of(at, struct store_heads, link);
        question->done(question);
    }
}

static void ask_refuse_heads(struct store_heads *question, void *ctx)
{
    (void)ctx;
    for (size_t i = 0; i < question->count; i++)
        question->heads[i] = (struct store_head){ .rc = RC_IO };
}

static void refuse_scan(struct ledger_read *read, void *ctx)
{
    (void)ctx;
    ledger_read_refuse(read, RC_IO);
}

static void pg_ask_refuse(struct pg_lane *lane)
{
    each_question(&lane->asked, ask_refuse_heads, NULL);
    each_scan(&lane->asked, refuse_scan, NULL);
    ask_answer(lane);
}

static void pg_ask_step(struct pg_lane *lane)
{
    if (lane->has_failed) {
        pg_ask_refuse(lane);
        return;
    }
    ask_take(lane);
    ask_answer(lane);
}

const struct pg_work pg_ask_work = { pg_ask_start, pg_ask_step, pg_ask_refuse };
