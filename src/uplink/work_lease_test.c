/* Rows of leases and cursors, and who is to carry a part. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include "uplink/work_lease.h"

#include <cmocka.h>

static void rows_are_read_as_they_were_written(void **state)
{
    (void)state;
    const struct cursor_row cursor = { .epoch = UINT64_MAX - 1, .seq = 41, .last = 140, .planned = 1700000000000, .is_changed = true };
    const struct lease_row  lease = { SPAN("node-a"), 0x123456789abcdef1 };
    struct cursor_row       got;
    struct lease_row        holder;
    struct buf              buf;

    buf_init(&buf, 1000);
    cursor_row_put(&buf, &cursor);
    assert_int_equal(buf.len, CURSOR_ROW_BYTES);
    assert_true(cursor_row_get(buf_span(&buf), &got));
    assert_memory_equal(&got, &cursor, offsetof(struct cursor_row, is_changed) + sizeof(bool));
    for (size_t len = 0; len < buf.len; len++)
        assert_false(cursor_row_get(span_head(buf_span(&buf), len), &got));
    buf_clear(&buf);
    lease_row_put(&buf, &lease);
    assert_true(lease_row_get(buf_span(&buf), &holder));
    assert_true(span_eq(holder.node, lease.node) && holder.incarnation == lease.incarnation);
    for (size_t len = 0; len < buf.len; len++)
        assert_false(lease_row_get(span_head(buf_span(&buf), len), &holder));
    buf_clear(&buf);
    cursor_row_put(&buf, &(struct cursor_row){ .epoch = 1, .seq = 9, .last = 9 });
    assert_false(cursor_row_get(buf_span(&buf), &got));  /* a batch ends behind the cursor */
    buf_fini(&buf);
}

static void a_cursor_lies_with_its_lease(void **state)
{
    (void)state;
    struct buf  lease, cursor;
    struct span first, rest;

    buf_init(&lease, 1000);
    buf_init(&cursor, 1000);
    work_lease_put_key(&lease, SPAN("forward:up"), 3);
    cursor_put_key(&cursor, SPAN("forward:up"), 3, SPAN("up:positions"));
    rest = buf_span(&cursor);
    assert_true(span_cut(&rest, '\0', &first) && span_eq(first, buf_span(&lease)) && span_eq(rest, SPAN("up:positions")));
    buf_fini(&lease);
    buf_fini(&cursor);
}

static void parts_follow_from_names(void **state)
{
    (void)state;
    assert_int_equal(work_lease_part(SPAN("sys:events/0")), 0);
    assert_int_equal(work_lease_part(SPAN("sys:events/13")), 13);
    assert_int_equal(work_lease_part(SPAN("up:a")), work_lease_part(SPAN("up:a")));
    assert_true(work_lease_part(SPAN("up:a")) < FORWARDER_PARTS);
}

static void know(struct registry *registry, const char *const *names, size_t count, size_t draining)
{
    struct node_record    records[8];
    struct registry_lease leases[8];

    registry_init(registry);
    for (size_t i = 0; i < count; i++) {
        records[i] = (struct node_record){ .id = { .incarnation = i + 1 }, .roles = ROLE_FORWARD, .is_draining = i == draining };
        snprintf(records[i].id.name, sizeof records[i].id.name, "%s", names[i]);
        leases[i] = (struct registry_lease){ &records[i], 10000 };
    }
    registry_take(registry, leases, count, 1000, NULL, NULL);
}

static const char *const names[] = { "a", "b", "c", "d" };

/* A node that goes moves what it had, and nothing else. */
static void only_the_share_of_a_node_that_goes_moves(void **state)
{
    (void)state;
    struct registry four, three;
    unsigned        moved = 0;

    know(&four, names, 4, 9);
    know(&three, names, 3, 9);
    for (unsigned part = 0; part < FORWARDER_PARTS; part++) {
        const struct registry_node *before = work_lease_owner(&four, SPAN("forward:up"), part);
        const struct registry_node *after  = work_lease_owner(&three, SPAN("forward:up"), part);
        assert_true(before != NULL && after != NULL);
        if (strcmp(before->record.id.name, "d") == 0)
            moved++;
        else
            assert_string_equal(before->record.id.name, after->record.id.name);
    }
    assert_true(moved > 0 && moved < FORWARDER_PARTS);
    registry_fini(&four);
    registry_fini(&three);
}

static void nobody_carries_without_the_role(void **state)
{
    (void)state;
    struct registry registry;

    know(&registry, names, 1, 0);  /* it drains */
    assert_null(work_lease_owner(&registry, SPAN("forward:up"), 0));
    registry.nodes[0].state        = NODE_UP;
    registry.nodes[0].record.roles = ROLE_ACCESS;
    assert_null(work_lease_owner(&registry, SPAN("forward:up"), 0));
    registry_fini(&registry);
}

static void a_part_is_taken_once_its_carrier_is_gone(void **state)
{
    (void)state;
    const struct node_id self = { "a", 1 };
    struct registry      registry;
    static const struct {
        const char          *name;
        struct lease_row     row;
        bool                 is_there, is_alone;
        msec                 wanted_ms;
        enum work_lease_move want;
    } rows[] = {
        { "no row", { SPAN(""), 0 }, false, false, 0, WORK_LEASE_TAKE },
        { "given up", { SPAN(""), 0 }, true, false, 0, WORK_LEASE_TAKE },
        { "another node has it", { SPAN("b"), 2 }, true, false, 0, WORK_LEASE_WAIT },
        { "… and does not give it up", { SPAN("b"), 2 }, true, false, WORK_LEASE_WAIT_MS, WORK_LEASE_TAKE },
        { "an earlier start of it had it", { SPAN("b"), 7 }, true, false, 0, WORK_LEASE_TAKE },
        { "an earlier start of this node", { SPAN("a"), 7 }, true, false, 0, WORK_LEASE_TAKE },
        { "a node that is not known", { SPAN("z"), 7 }, true, false, 0, WORK_LEASE_TAKE },
        { "alone", { SPAN("b"), 2 }, true, true, 0, WORK_LEASE_TAKE },
    };

    know(&registry, names, 2, 9);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (work_lease_judge(rows[i].is_there ? &rows[i].row : NULL, rows[i].is_alone ? NULL : &registry, &self,
                             rows[i].wanted_ms) != rows[i].want)
            fail_msg("%s", rows[i].name);
    registry_fini(&registry);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_read_as_they_were_written),
        cmocka_unit_test(a_cursor_lies_with_its_lease),
        cmocka_unit_test(parts_follow_from_names),
        cmocka_unit_test(only_the_share_of_a_node_that_goes_moves),
        cmocka_unit_test(nobody_carries_without_the_role),
        cmocka_unit_test(a_part_is_taken_once_its_carrier_is_gone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
