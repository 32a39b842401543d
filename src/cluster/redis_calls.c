/* redis_calls.c - what each kind of call sends, and what is made of its answers. */
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"
#include "cluster/redis_engine_priv.h"

enum { RECORD_AT = ORDER_BYTES + 10 /* the round: a space, 8 digits, a space */, RECORD_BYTES = 65536, IDS_FIRST = 16,
       ROUND_DIGITS = 8, LEASE_FIELDS = 3, NUMBER_BYTES = 24 };

/* --- what Redis carries out ------------------------------------------------------------------------------------------- */

static const char LEASE_SCRIPT[] =
    "local old = redis.call('GET', KEYS[1])\n"
    "if old and string.sub(old, 1, 37) > ARGV[1] then return -1 end\n"
    "if not old and redis.call('SCARD', KEYS[2]) >= tonumber(ARGV[5]) then\n"
    "  for _, name in ipairs(redis.call('SMEMBERS', KEYS[2])) do\n"
    "    if redis.call('EXISTS', ARGV[6] .. name) == 0 then redis.call('SREM', KEYS[2], name) end\n"
    "  end\n"
    "  if redis.call('SCARD', KEYS[2]) >= tonumber(ARGV[5]) then return -2 end\n"
    "end\n"
    "redis.call('SET', KEYS[1], ARGV[1] .. ARGV[2], 'PX', ARGV[3])\n"
    "redis.call('SADD', KEYS[2], ARGV[4])\n"
    "if old and string.sub(old, 1, 37) == ARGV[1] then return 1 end\n"
    "return 0\n";

static const char LEAVE_SCRIPT[] =
    "local old = redis.call('GET', KEYS[1])\n"
    "if old and string.sub(old, 22, 37) == ARGV[1] then\n"
    "  redis.call('DEL', KEYS[1])\n"
    "  redis.call('SREM', KEYS[2], ARGV[2])\n"
    "end\n"
    "return 0\n";

static const char NODES_SCRIPT[] =
    "local all = {}\n"
    "for _, name in ipairs(redis.call('SMEMBERS', KEYS[1])) do\n"
    "  local value = redis.call('GET', ARGV[1] .. name)\n"
    "  if value then\n"
    "    all[#all + 1] = name\n"
    "    all[#all + 1] = value\n"
    "    all[#all + 1] = redis.call('PTTL', ARGV[1] .. name)\n"
    "  else\n"
    "    redis.call('SREM', KEYS[1], name)\n"
    "  end\n"
    "end\n"
    "return all\n";

const char *const redis_script_texts[SCRIPT_COUNT] = { LEASE_SCRIPT, LEAVE_SCRIPT, NODES_SCRIPT };

static const char LEASE_PREFIX[] = "lw:lease:";

/* --- names ---------------------------------------------------------------------------------------------------------- */

static struct span member_put(const struct node_id *id, uint32_t round, char text[MEMBER_BYTES])
{
    int len = snprintf(text, MEMBER_BYTES, "%s#%016llx.%08x", id->name, (unsigned long long)id->incarnation, round);

    return span_of(text, (size_t)len);
}

static bool hex_parse(struct span text, uint64_t *ret)
{
    char  digits[HEX_DIGITS + 1] = { 0 };
    char *end;

    if (text.len > HEX_DIGITS || text.len == 0)
        return false;
    memcpy(digits, text.at, text.len);
    *ret = strtoull(digits, &end, 16);
    return end == digits + text.len;
}

/* False: it isn't one that we wrote. */
static bool member_parse(struct span text, struct node_id *ret)
{
    const size_t tail = 1 + HEX_DIGITS + 1 + ROUND_DIGITS;

    if (text.len <= tail || text.len - tail > NODE_RECORD_NAME_MAX || text.at[text.len - tail] != '#')
        return false;
    memset(ret->name, 0, sizeof ret->name);
    memcpy(ret->name, text.at, text.len - tail);
    return hex_parse(span_of(text.at + text.len - tail + 1, HEX_DIGITS), &ret->incarnation);
}

static struct span route_key(struct span route, char key[KEY_BYTES])
{
    must(route.len <= ROUTE_NAME_BYTES_MAX);
    memcpy(key, "lw:r:", 5);
    memcpy(key + 5, route.at, route.len);
    return span_of(key, route.len + 5);
}

static struct span lease_key(const struct redis_engine *engine, char key[KEY_BYTES])
{
    return span_of(key, (size_t)snprintf(key, KEY_BYTES, "%s%s", LEASE_PREFIX, engine->self.name));
}

struct span redis_bus_name(uint64_t incarnation, char text[KEY_BYTES])
{
    return span_of(text, (size_t)snprintf(text, KEY_BYTES, "lw:b:%016llx", (unsigned long long)incarnation));
}

struct redis_line *redis_line_of_route(struct redis_engine *engine, struct span route)
{
    return &engine->thread.lines[slot_of_channel(route) % engine->instance_count];
}

static struct redis_line *line_of_node(struct redis_engine *engine, uint64_t incarnation)
{
    return &engine->thread.lines[incarnation % engine->instance_count];
}

/* --- the ends of calls ------------------------------------------------------------------------------------------------ */

static size_t call_bytes(const struct engine_call *call)
{
    return call->kind == ENGINE_SEND ? call->frame.len : 0;
}

void redis_call_done(struct redis_engine *engine, struct engine_call *call, enum rc rc)
{
    call->rc    = rc;
    call->round = engine->beat_round;
    counter_add(&engine->call_count, 1);
    counter_add(&engine->failure_count, rc == RC_IO);
    counter_add(&engine->frames_sent, call->kind == ENGINE_SEND && rc == RC_OK);
    pthread_mutex_lock(&engine->thread.lock);
    engine->waiting_count--;
    engine->waiting_bytes -= call_bytes(call);
    pthread_mutex_unlock(&engine->thread.lock);
    engine->events->done(engine->ctx, call);
}

/* Those of one kind complete in their order, whichever Redis answers first. */
static void tasks_complete(struct redis_engine *engine, enum engine_call_kind kind)
{
    struct list *tasks = &engine->tasks[kind];

    while (!list_is_empty(tasks)) {
        struct engine_task *task = container_of(tasks->next, struct engine_task, link);
        struct engine_call *call = task->call;
        enum rc             rc   = task->rc;
        if (!task->is_sent || task->unanswered > 0)
            return;
        list_take(&task->link);
        free(task);
        redis_call_done(engine, call, rc);
    }
}

/* False: the answer is none, and the call fails. */
static bool is_answer(struct engine_task *task, const redisReply *reply, int type)
{
    if (reply != NULL && reply->type == type)
        return true;
    task->rc = RC_IO;
    if (reply != NULL)
        redis_engine_note(task->engine, reply->type == REDIS_REPLY_ERROR ? reply->str : "Redis gave an answer of another kind");
    return false;
}

static void part_over(struct engine_task *task)
{
    task->unanswered--;
    tasks_complete(task->engine, task->call->kind);
}

/* --- leases ----------------------------------------------------------------------------------------------------------- */

static void on_lease(void *ctx, const redisReply *reply)
{
    struct engine_task  *task   = ((struct engine_part *)ctx)->task;
    struct redis_engine *engine = task->engine;

    if (is_answer(task, reply, REDIS_REPLY_INTEGER)) {
        task->rc = reply->integer == -1 ? RC_BUSY : reply->integer < 0 ? RC_FULL : RC_OK;
        task->call->is_new = reply->integer == 0;
        /* It had run out, so that others may have swept the routes of this round. */
        if (reply->integer == 0 && engine->has_lease)
            engine->round++;
        if (task->rc == RC_OK)
            engine->has_lease = true;
        /* The word was read just before. Who hears of another life first knows why its lease is new. */
        if (reply->integer == 0)
            redis_engine_tell_life(engine);
    }
    part_over(task);
}

static void lease_start(struct redis_engine *engine, struct engine_task *task)
{
    const struct engine_call *call = task->call;
    struct buf                value;
    char                      key[KEY_BYTES], order[ORDER_BYTES + 1], lease_ms[NUMBER_BYTES], nodes_max[NUMBER_BYTES];

    redis_engine_beat(engine);
    snprintf(order, sizeof order, "%020llu %016llx", (unsigned long long)call->started,
             (unsigned long long)engine->self.incarnation);
    snprintf(lease_ms, sizeof lease_ms, "%lld", (long long)call->lease_ms);
    snprintf(nodes_max, sizeof nodes_max, "%d", NODES_MAX);
    buf_init(&value, RECORD_BYTES);
    buf_putf(&value, " %08x ", engine->round);
    buf_put(&value, call->record);
    must(!buf_is_over(&value));
    task->unanswered++;
    redis_line_ask(&engine->thread.lines[0], on_lease, &task->parts[0], SPAN("EVALSHA"),
                   span_str(engine->instances[0].shas[SCRIPT_LEASE]), SPAN("2"), lease_key(engine, key), SPAN("lw:names"),
                   span_str(order), buf_span(&value), span_str(lease_ms), span_str(engine->self.name), span_str(nodes_max),
                   span_str(LEASE_PREFIX));
    buf_fini(&value);
}

static void on_leave(void *ctx, const redisReply *reply)
{
    struct engine_task *task = ((struct engine_part *)ctx)->task;

    if (is_answer(task, reply, REDIS_REPLY_INTEGER))
        task->engine->has_lease = false;
    part_over(task);
}

static void leave_start(struct redis_engine *engine, struct engine_task *task)
{
    char key[KEY_BYTES], incarnation[HEX_DIGITS + 1];

    snprintf(incarnation, sizeof incarnation, "%016llx", (unsigned long long)engine->self.incarnation);
    task->unanswered++;
    redis_line_ask(&engine->thread.lines[0], on_leave, &task->parts[0], SPAN("EVALSHA"),
                   span_str(engine->instances[0].shas[SCRIPT_LEAVE]), SPAN("2"), lease_key(engine, key), SPAN("lw:names"),
                   span_str(incarnation), span_str(engine->self.name));
}

/* STARTED INCARNATION ROUND RECORD. False: it isn't one that we wrote. A lease in its last millisecond has 0 left, and runs: who is not
 * listed does not hold his name any more. */
static bool lease_parse(struct span name, struct span value, long long left_ms, struct engine_lease *ret, uint32_t *ret_round)
{
    uint64_t round = 0;

    if (name.len == 0 || name.len > NODE_RECORD_NAME_MAX || value.len < RECORD_AT || left_ms < 0 ||
        !hex_parse(span_of(value.at + ORDER_BYTES - HEX_DIGITS, HEX_DIGITS), &ret->id.incarnation) ||
        !hex_parse(span_of(value.at + ORDER_BYTES + 1, ROUND_DIGITS), &round))
        return false;
    memset(ret->id.name, 0, sizeof ret->id.name);
    memcpy(ret->id.name, name.at, name.len);
    ret->left_ms = left_ms == 0 ? 1 : left_ms;
    buf_init(&ret->record, RECORD_BYTES);
    buf_put(&ret->record, span_skip(value, RECORD_AT));
    *ret_round = (uint32_t)round;
    return true;
}

static void nodes_take(struct redis_engine *engine, struct engine_call *call, const redisReply *reply)
{
    size_t              count = reply->elements / LEASE_FIELDS;
    struct live_member *live  = calloc(count + 1, sizeof *live);
    uint32_t            round = 0;

    call->leases = calloc(count + 1, sizeof *call->leases);
    must(live != NULL && call->leases != NULL);
    for (size_t i = 0; i < count; i++) {
        redisReply **fields = reply->element + i * LEASE_FIELDS;
        struct engine_lease *lease = &call->leases[call->lease_count];
        if (!lease_parse(redis_text(fields[0]), redis_text(fields[1]), fields[2]->integer, lease, &round))
            continue;
        member_put(&lease->id, round, live[call->lease_count++].text);
    }
    redis_take_live(engine, live, call->lease_count);
}

static void on_nodes(void *ctx, const redisReply *reply)
{
    struct engine_task *task = ((struct engine_part *)ctx)->task;

    if (is_answer(task, reply, REDIS_REPLY_ARRAY))
        nodes_take(task->engine, task->call, reply);
    part_over(task);
}

/* The word was read behind the list. */
static void on_nodes_word(void *ctx, const redisReply *reply)
{
    struct engine_task *task = ((struct engine_part *)ctx)->task;

    if (is_answer(task, reply, REDIS_REPLY_STATUS))
        redis_engine_tell_life(task->engine);
    part_over(task);
}

static void nodes_start(struct redis_engine *engine, struct engine_task *task)
{
    task->unanswered += 2;
    redis_line_ask(&engine->thread.lines[0], on_nodes, &task->parts[0], SPAN("EVALSHA"),
                   span_str(engine->instances[0].shas[SCRIPT_NODES]), SPAN("1"), SPAN("lw:names"), span_str(LEASE_PREFIX));
    redis_engine_beat(engine);
    redis_line_ask(&engine->thread.lines[0], on_nodes_word, &task->parts[0], SPAN("PING"));
}

/* --- routes ----------------------------------------------------------------------------------------------------------- */

static void on_route(void *ctx, const redisReply *reply)
{
    struct engine_task *task = ((struct engine_part *)ctx)->task;

    is_answer(task, reply, REDIS_REPLY_INTEGER);
    part_over(task);
}

static void route_start(struct redis_engine *engine, struct engine_task *task)
{
    char        key[KEY_BYTES], text[MEMBER_BYTES];
    struct span member = member_put(&engine->self, engine->round, text);

    for (size_t i = 0; i < task->call->name_count; i++) {
        const struct engine_name *name = &task->call->names[i];
        task->unanswered++;
        redis_line_ask(redis_line_of_route(engine, name->name), on_route, &task->parts[i],
                       name->is_removed ? SPAN("SREM") : SPAN("SADD"), route_key(name->name, key), member);
    }
}

static void ids_add(struct engine_task *task, const struct node_id *id)
{
    struct engine_call *call = task->call;

    if (call->id_count == task->id_cap) {
        task->id_cap = task->id_cap == 0 ? IDS_FIRST : task->id_cap * 2;
        call->ids    = reallocarray(call->ids, task->id_cap, sizeof call->ids[0]);
        must(call->ids != NULL);
    }
    call->ids[call->id_count++] = *id;
}

static void followers_take(struct engine_task *task, struct engine_name *name, const redisReply *reply)
{
    struct node_id id;

    name->first = (uint32_t)task->call->id_count;
    for (size_t i = 0; i < reply->elements; i++) {
        struct span member = redis_text(reply->element[i]);
        if (!member_parse(member, &id))
            continue;
        ids_add(task, &id);
        redis_suspect(task->engine, name->name, member);
    }
    name->count = (uint32_t)(task->call->id_count - name->first);
}

static void on_lookup(void *ctx, const redisReply *reply)
{
    struct engine_part *part = ctx;
    struct engine_task *task = part->task;

    if (is_answer(task, reply, REDIS_REPLY_ARRAY))
        followers_take(task, &task->call->names[part->at], reply);
    part_over(task);
}

static void lookup_start(struct redis_engine *engine, struct engine_task *task)
{
    char key[KEY_BYTES];

    for (size_t i = 0; i < task->call->name_count; i++) {
        struct engine_name *name = &task->call->names[i];
        name->first = name->count = 0;
        task->unanswered++;
        redis_line_ask(redis_line_of_route(engine, name->name), on_lookup, &task->parts[i], SPAN("SMEMBERS"),
                       route_key(name->name, key));
    }
}

/* --- frames ----------------------------------------------------------------------------------------------------------- */

static void frame_written(struct redis_said *said, bool is_written)
{
    struct engine_task *task = container_of(said, struct engine_task, said);

    if (!is_written)
        task->rc = RC_IO;
    part_over(task);
}

static void send_start(struct redis_engine *engine, struct engine_task *task)
{
    char              text[KEY_BYTES];
    const struct span publish[] = { SPAN("PUBLISH"), redis_bus_name(task->call->to.incarnation, text), task->call->frame };

    task->unanswered++;
    task->said.written = frame_written;
    redis_line_say(line_of_node(engine, task->call->to.incarnation), publish, sizeof publish / sizeof publish[0], &task->said);
}

/* --- all of them ------------------------------------------------------------------------------------------------------- */

static void (*const starts[])(struct redis_engine *engine, struct engine_task *task) = {
    [ENGINE_LEASE] = lease_start, [ENGINE_LEAVE] = leave_start,   [ENGINE_NODES] = nodes_start,
    [ENGINE_ROUTE] = route_start, [ENGINE_LOOKUP] = lookup_start, [ENGINE_SEND] = send_start,
};

/* A command for a line that is away is answered at once, and so may a whole call be. */
void redis_call_start(struct redis_engine *engine, struct engine_call *call)
{
    size_t              count = call->kind == ENGINE_ROUTE || call->kind == ENGINE_LOOKUP ? call->name_count : 1;
    struct engine_task *task  = malloc(sizeof *task + count * sizeof task->parts[0]);

    must(task != NULL);
    *task = (struct engine_task){ .engine = engine, .call = call };
    for (size_t i = 0; i < count; i++)
        task->parts[i] = (struct engine_part){ task, i };
    list_push(&engine->tasks[call->kind], &task->link);
    starts[call->kind](engine, task);
    task->is_sent = true;
    tasks_complete(engine, call->kind);
}
