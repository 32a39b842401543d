/* What each kind of call asks of PostgreSQL, and what is made of the answers; frames on the bus. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "base/must.h"
#include "cluster/pg_engine_priv.h"

/* A notice takes less than 8,000 bytes of text: its number, a letter, and a frame in base64 behind each space. */
enum { NOTICE_BYTES = 7800, INLINE_BYTES = 5700, RECORD_BYTES = 65536, IDS_FIRST = 16, SEND_NOTICES = 256 };

const char *const engine_statements[ENGINE_SQL_COUNT] = {
    [ENGINE_SQL_WORD]  = "select longwire.cluster_word()",
    [ENGINE_SQL_LEASE] = "select longwire.cluster_lease(convert_from($1::bytea, 'UTF8'), $2::bigint, $3::bigint, $4::bytea, $5::bigint,"
                         " $6::bigint)",
    [ENGINE_SQL_LEAVE] = "select longwire.cluster_leave($1::bigint)",
    [ENGINE_SQL_NODES] = "select convert_to(name, 'UTF8'), incarnation, record,"
                         " ceil(extract(epoch from until - clock_timestamp()) * 1000)::bigint"
                         " from longwire.cluster_lease where until > clock_timestamp() order by name",
    [ENGINE_SQL_ROUTE]  = "select longwire.cluster_route($1::bigint, $2::bytea[], $3::bigint[])",
    [ENGINE_SQL_LOOKUP] = "select u.at, convert_to(l.name, 'UTF8'), l.incarnation from unnest($1::bytea[], $2::bigint[]) u(name, at)"
                          " join longwire.cluster_route r on r.name = u.name"
                          " join longwire.cluster_lease l on l.incarnation = r.incarnation and l.until > clock_timestamp()"
                          " order by u.at",
    [ENGINE_SQL_SEND]      = "select longwire.cluster_send($1::bigint[], $2::bytea[], $3::bytea[])",
    [ENGINE_SQL_TAKE_MAIL] = "delete from longwire.cluster_mail where id = $1::bigint returning frame",
};

/* --- ends of calls ------------------------------------------------------------------------------------------------------ */

static struct engine_call *task_call(struct line_task *task)
{
    return container_of(list_pop(&task->calls), struct engine_call, link);
}

/* False: the task failed, and its calls are done. */
static bool task_is_good(struct line_task *task, const PGresult *result)
{
    if (PQresultStatus(result) == PGRES_TUPLES_OK)
        return true;
    if (result != NULL)
        engine_note(task->engine, PQresultErrorMessage(result));
    while (!list_is_empty(&task->calls))
        engine_call_done(task->engine, task_call(task), RC_IO);
    return false;
}

static void on_plain(struct line_task *task, const PGresult *result)
{
    if (!task_is_good(task, result))
        return;
    while (!list_is_empty(&task->calls))
        engine_call_done(task->engine, task_call(task), RC_OK);
}

/* --- life --------------------------------------------------------------------------------------------------------------- */

static void pg_on_word(struct line_task *task, const PGresult *result)
{
    if (PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) == 1)
        task->engine->word = (uint64_t)pg_i64(result, 0, 0);
}

void engine_ask_word(struct pg_engine *engine)
{
    if (engine->lines[LINE_CALLS].state != LINE_UP)
        return;
    pg_args_clear(&engine->args);
    line_send(&engine->lines[LINE_CALLS], ENGINE_SQL_WORD, pg_on_word);
}

/* --- leases ------------------------------------------------------------------------------------------------------------- */

static void pg_on_lease(struct line_task *task, const PGresult *result)
{
    if (!task_is_good(task, result))
        return;
    struct engine_call *call = task_call(task);
    int64_t             told = pg_i64(result, 0, 0);

    call->is_new = told == 0;
    engine_call_done(task->engine, call, told == -1 ? RC_BUSY : told < 0 ? RC_FULL : RC_OK);
}

static struct line_task *lease_send(struct pg_engine *engine, const struct engine_call *call)
{
    struct pg_args *args = &engine->args;

    engine_ask_word(engine);
    pg_args_clear(args);
    pg_args_bytes(args, span_str(engine->options.self.name));
    pg_args_i64(args, (int64_t)engine->options.self.incarnation);
    pg_args_i64(args, call->started);
    pg_args_bytes(args, call->record);
    pg_args_i64(args, call->lease_ms);
    pg_args_i64(args, NODES_MAX);
    return line_send(&engine->lines[LINE_CALLS], ENGINE_SQL_LEASE, pg_on_lease);
}

static struct line_task *leave_send(struct pg_engine *engine, const struct engine_call *call)
{
    (void)call;
    pg_args_clear(&engine->args);
    pg_args_i64(&engine->args, (int64_t)engine->options.self.incarnation);
    return line_send(&engine->lines[LINE_CALLS], ENGINE_SQL_LEAVE, on_plain);
}

static bool pg_id_take(struct node_id *id, struct span name, int64_t incarnation)
{
    if (name.len == 0 || name.len > NODE_RECORD_NAME_MAX)
        return false;
    memset(id->name, 0, sizeof id->name);
    memcpy(id->name, name.at, name.len);
    id->incarnation = (uint64_t)incarnation;
    return true;
}

static void pg_on_nodes(struct line_task *task, const PGresult *result)
{
    if (!task_is_good(task, result))
        return;
    struct engine_call *call  = task_call(task);
    int                 count = PQntuples(result);

    call->leases = calloc((size_t)count + 1, sizeof *call->leases);
    must(call->leases != NULL);
    for (int i = 0; i < count; i++) {
        struct engine_lease *lease = &call->leases[call->lease_count];
        lease->left_ms             = pg_i64(result, i, 3);
        if (lease->left_ms <= 0 || !pg_id_take(&lease->id, pg_bytes(result, i, 0), pg_i64(result, i, 1)))
            continue;
        buf_init(&lease->record, RECORD_BYTES);
        buf_put(&lease->record, pg_bytes(result, i, 2));
        call->lease_count++;
    }
    engine_call_done(task->engine, call, RC_OK);
}

static struct line_task *nodes_send(struct pg_engine *engine, const struct engine_call *call)
{
    (void)call;
    pg_args_clear(&engine->args);
    return line_send(&engine->lines[LINE_CALLS], ENGINE_SQL_NODES, pg_on_nodes);
}

/* --- routes --------------------------------------------------------------------------------------------------------------- */

static struct line_task *route_send(struct pg_engine *engine, const struct engine_call *call)
{
    struct pg_args *args = &engine->args;

    pg_args_clear(args);
    pg_args_i64(args, (int64_t)engine->options.self.incarnation);
    pg_args_arrays(args, "bi");
    for (size_t i = 0; i < call->name_count; i++) {
        pg_push_bytes(args, 1, call->names[i].name);
        pg_push_i64(args, 2, call->names[i].is_removed);
    }
    return line_send(&engine->lines[LINE_CALLS], ENGINE_SQL_ROUTE, on_plain);
}

/* The rows come in the order of the names. */
static void pg_on_lookup(struct line_task *task, const PGresult *result)
{
    if (!task_is_good(task, result))
        return;
    struct engine_call *call  = task_call(task);
    int                 count = PQntuples(result), row = 0;

    call->ids = calloc((size_t)count + 1, sizeof *call->ids);
    must(call->ids != NULL);
    for (size_t i = 0; i < call->name_count; i++) {
        struct engine_name *name = &call->names[i];
        name->first              = (uint32_t)call->id_count;
        for (; row < count && pg_i64(result, row, 0) == (int64_t)i; row++)
            call->id_count += pg_id_take(&call->ids[call->id_count], pg_bytes(result, row, 1), pg_i64(result, row, 2));
        name->count = (uint32_t)call->id_count - name->first;
    }
    engine_call_done(task->engine, call, RC_OK);
}

static struct line_task *lookup_send(struct pg_engine *engine, const struct engine_call *call)
{
    struct pg_args *args = &engine->args;

    pg_args_clear(args);
    pg_args_arrays(args, "bi");
    for (size_t i = 0; i < call->name_count; i++) {
        call->names[i].first = call->names[i].count = 0;
        pg_push_bytes(args, 0, call->names[i].name);
        pg_push_i64(args, 1, (int64_t)i);
    }
    return line_send(&engine->lines[LINE_CALLS], ENGINE_SQL_LOOKUP, pg_on_lookup);
}

/* --- frames go ---------------------------------------------------------------------------------------------------------- */

/* A notice begins with its number: PostgreSQL would drop one that is equal to another one of its transaction. */
static void notice_begin(struct pg_engine *engine, char letter)
{
    buf_clear(&engine->text);
    buf_put_u64(&engine->text, ++engine->notice_number);
    buf_putc(&engine->text, letter);
}

static void notice_push(struct pg_engine *engine, uint64_t receiver, struct span mail)
{
    pg_push_i64(&engine->args, 0, (int64_t)receiver);
    pg_push_bytes(&engine->args, 1, buf_span(&engine->text));
    pg_push_bytes(&engine->args, 2, mail);
}

static bool fits_notice(const struct pg_engine *engine, const struct engine_call *call)
{
    return engine->text.len + 1 + (call->frame.len + 2) / 3 * 4 <= NOTICE_BYTES;
}

/* The first call that waits, and all that follow for the same node while there is room: one notice. */
static void notice_put(struct pg_engine *engine, struct list *sends, struct list *taken)
{
    struct engine_call *first    = container_of(sends->next, struct engine_call, link);
    uint64_t            receiver = first->to.incarnation;
    struct list        *next;

    if (first->frame.len > INLINE_BYTES) {
        notice_begin(engine, 'm');
        notice_push(engine, receiver, first->frame);
        list_take(&first->link);
        list_push(taken, &first->link);
        return;
    }
    notice_begin(engine, 'f');
    for (struct list *link = sends->next; link != sends; link = next) {
        struct engine_call *call = container_of(link, struct engine_call, link);
        next                     = link->next;
        if (call->to.incarnation != receiver)
            continue;
        if (call->frame.len > INLINE_BYTES || !fits_notice(engine, call))
            break;
        buf_putc(&engine->text, ' ');
        base64_put(&engine->text, call->frame);
        list_take(link);
        list_push(taken, link);
    }
    notice_push(engine, receiver, SPAN(""));
}

static void sends_go(struct pg_engine *engine, struct list *sends)
{
    struct list taken;
    size_t      count = 0;

    list_init(&taken);
    pg_args_clear(&engine->args);
    pg_args_arrays(&engine->args, "ibb");
    for (; !list_is_empty(sends) && count < SEND_NOTICES; count++)
        notice_put(engine, sends, &taken);
    struct line_task *task = line_send(&engine->lines[LINE_BUS], ENGINE_SQL_SEND, on_plain);
    list_move(&task->calls, &taken);
}

/* --- frames come -------------------------------------------------------------------------------------------------------- */

static void pg_arrival_free(struct engine_arrival *arrival)
{
    list_take(&arrival->link);
    buf_fini(&arrival->frame);
    free(arrival);
}

void engine_drop_arrivals(struct pg_engine *engine)
{
    while (!list_is_empty(&engine->arrivals))
        pg_arrival_free(container_of(engine->arrivals.next, struct engine_arrival, link));
}

static void frame_tell(struct pg_engine *engine, struct span frame)
{
    counter_add(&engine->frames_received, 1);
    counter_add(&engine->bytes_received, frame.len);
    engine->options.events->frame(engine->options.ctx, frame);
}

static void arrivals_go(struct pg_engine *engine);

/* A row that is gone is a frame that was lost; the next one shows it. */
static void on_mail(struct line_task *task, const PGresult *result)
{
    struct pg_engine *engine = task->engine;

    if (result == NULL || list_is_empty(&engine->arrivals))
        return;
    if (PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) == 1)
        frame_tell(engine, pg_bytes(result, 0, 0));
    pg_arrival_free(container_of(engine->arrivals.next, struct engine_arrival, link));
    arrivals_go(engine);
}

static void arrivals_go(struct pg_engine *engine)
{
    while (!list_is_empty(&engine->arrivals)) {
        struct engine_arrival *first = container_of(engine->arrivals.next, struct engine_arrival, link);
        if (first->mail != 0 && first->is_asked)
            return;
        if (first->mail != 0) {
            first->is_asked = true;
            pg_args_clear(&engine->args);
            pg_args_i64(&engine->args, first->mail);
            line_send(&engine->lines[LINE_BUS], ENGINE_SQL_TAKE_MAIL, on_mail);
            return;
        }
        frame_tell(engine, buf_span(&first->frame));
        pg_arrival_free(first);
    }
}

static struct engine_arrival *arrival_add(struct pg_engine *engine)
{
    struct engine_arrival *arrival = calloc(1, sizeof *arrival);

    must(arrival != NULL);
    buf_init(&arrival->frame, NOTICE_BYTES);
    list_push(&engine->arrivals, &arrival->link);
    return arrival;
}

/* "17f FRAME FRAME" or "18mROW"; what is malformed comes from somebody else. */
static void notice_take(struct pg_engine *engine, const char *text)
{
    char       *rest   = NULL;
    uint64_t    number = strtoull(text, &rest, 10);
    struct span frames, frame;

    if (number == 0 || (*rest != 'f' && *rest != 'm'))
        return;
    if (*rest == 'm') {
        int64_t row = strtoll(rest + 1, NULL, 10);
        if (row > 0)
            arrival_add(engine)->mail = row;
        return;
    }
    frames = span_str(rest + 1);
    span_cut(&frames, ' ', &frame);
    while (span_cut(&frames, ' ', &frame)) {
        struct engine_arrival *arrival = arrival_add(engine);
        if (!base64_get(frame, &arrival->frame))
            pg_arrival_free(arrival);
    }
}

void engine_take_notices(struct engine_line *line)
{
    struct pg_engine *engine = line->engine;
    PGnotify         *notice;

    while (line->conn != NULL && (notice = PQnotifies(line->conn)) != NULL) {
        notice_take(engine, notice->extra);
        PQfreemem(notice);
    }
    if (line->state == LINE_UP)
        arrivals_go(engine);
}

/* --- all of them --------------------------------------------------------------------------------------------------------- */

static struct line_task *(*const sends[])(struct pg_engine *engine, const struct engine_call *call) = {
    [ENGINE_LEASE] = lease_send, [ENGINE_LEAVE] = leave_send,   [ENGINE_NODES] = nodes_send,
    [ENGINE_ROUTE] = route_send, [ENGINE_LOOKUP] = lookup_send,
};

void engine_calls_start(struct pg_engine *engine, struct list *calls)
{
    struct list *link, frames;

    list_init(&frames);
    while ((link = list_pop(calls)) != NULL) {
        struct engine_call *call = container_of(link, struct engine_call, link);
        enum line_kind      kind = call->kind == ENGINE_SEND ? LINE_BUS : LINE_CALLS;
        if (engine->lines[kind].state != LINE_UP) {
            engine_call_done(engine, call, RC_IO);
        } else if (call->kind == ENGINE_SEND) {
            list_push(&frames, link);
        } else {
            struct line_task *task = sends[call->kind](engine, call);
            list_push(&task->calls, link);
        }
    }
    while (!list_is_empty(&frames))
        sends_go(engine, &frames);
}
