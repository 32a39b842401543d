#include "store/pg_args.h"

#include <endian.h>

#include "base/must.h"

enum { ARG_BYTES_LIMIT = 512 * 1024 * 1024, OID_BYTEA = 17, OID_INT8 = 20, ARRAY_COUNT_AT = 12, ARRAY_HEAD_BYTES = 20 };

void pg_args_init(struct pg_args *args)
{
    *args = (struct pg_args){ 0 };
    for (size_t i = 0; i < PG_ARGS_COUNT; i++)
        buf_init(&args->bytes[i], ARG_BYTES_LIMIT);
}

void pg_args_fini(struct pg_args *args)
{
    for (size_t i = 0; i < PG_ARGS_COUNT; i++)
        buf_fini(&args->bytes[i]);
}

void pg_args_clear(struct pg_args *args)
{
    args->count = 0;
}

static void arg_put_u32(struct buf *buf, uint32_t value)
{
    value = htobe32(value);
    buf_put(buf, span_of(&value, sizeof value));
}

static void arg_put_i64(struct buf *buf, int64_t value)
{
    uint64_t wire = htobe64((uint64_t)value);
    buf_put(buf, span_of(&wire, sizeof wire));
}

static struct buf *arg_more(struct pg_args *args, bool is_array)
{
    must(args->count < PG_ARGS_COUNT);
    args->is_array[args->count] = is_array;
    args->elements[args->count] = 0;
    struct buf *buf             = &args->bytes[args->count++];
    buf_clear(buf);
    return buf;
}

void pg_args_i64(struct pg_args *args, int64_t value)
{
    arg_put_i64(arg_more(args, false), value);
}

void pg_args_bytes(struct pg_args *args, struct span value)
{
    buf_put(arg_more(args, false), value);
}

/* One dimension, no nulls, the type, then the count (set when it is sent) and the index of the first. */
void pg_args_arrays(struct pg_args *args, const char *types)
{
    for (; *types != '\0'; types++) {
        struct buf *buf = arg_more(args, true);
        arg_put_u32(buf, 1);
        arg_put_u32(buf, 0);
        arg_put_u32(buf, *types == 'i' ? OID_INT8 : OID_BYTEA);
        arg_put_u32(buf, 0);
        arg_put_u32(buf, 1);
    }
}

void pg_push_i64(struct pg_args *args, size_t at, int64_t value)
{
    arg_put_u32(&args->bytes[at], sizeof value);
    arg_put_i64(&args->bytes[at], value);
    args->elements[at]++;
}

void pg_push_bytes(struct pg_args *args, size_t at, struct span value)
{
    arg_put_u32(&args->bytes[at], (uint32_t)value.len);
    buf_put(&args->bytes[at], value);
    args->elements[at]++;
}

bool pg_args_send(struct pg_args *args, PGconn *conn, const char *name)
{
    const char *values[PG_ARGS_COUNT];
    int         lengths[PG_ARGS_COUNT], formats[PG_ARGS_COUNT];

    for (size_t i = 0; i < args->count; i++) {
        struct buf *buf = &args->bytes[i];
        must(!buf_is_over(buf));
        if (args->is_array[i]) {
            uint32_t count = htobe32(args->elements[i]);
            memcpy(buf->at + ARRAY_COUNT_AT, &count, sizeof count);
        }
        values[i]  = buf->len == 0 ? "" : buf->at;
        lengths[i] = (int)buf->len;
        formats[i] = 1;
    }
    return PQsendQueryPrepared(conn, name, (int)args->count, values, lengths, formats, 1) == 1;
}

int64_t pg_i64(const PGresult *result, int row, int column)
{
    uint64_t wire;

    if (PQgetisnull(result, row, column))
        return 0;
    must(PQgetlength(result, row, column) == sizeof wire);
    memcpy(&wire, PQgetvalue(result, row, column), sizeof wire);
    return (int64_t)be64toh(wire);
}

int64_t pg_array_i64(const PGresult *result, int row, int column, size_t index)
{
    size_t   at = ARRAY_HEAD_BYTES + index * (sizeof(uint32_t) + sizeof(uint64_t)) + sizeof(uint32_t);
    uint64_t wire;

    must(at + sizeof wire <= (size_t)PQgetlength(result, row, column));
    memcpy(&wire, PQgetvalue(result, row, column) + at, sizeof wire);
    return (int64_t)be64toh(wire);
}

struct span pg_bytes(const PGresult *result, int row, int column)
{
    return span_of(PQgetvalue(result, row, column), (size_t)PQgetlength(result, row, column));
}
