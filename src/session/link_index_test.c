/* Links by their keys, against a list. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include "base/rng.h"
#include "session/link.h"
#include "session/link_index.h"

#include <cmocka.h>

enum { LINKS = 300 };

struct book {
    struct link_index index;
    struct pool       pool;
    struct link      *at[LINKS];
    struct near_list *links;
};

static struct book *book_new(void)
{
    struct book *book = calloc(1, sizeof *book);

    assert_non_null(book);
    pool_init(&book->pool, sizeof(struct link));
    for (int i = 0; i < LINKS; i++)
        book->at[i] = pool_take(&book->pool);
    book->links = &((struct link *)pool_take(&book->pool))->in_worker;
    near_list_init(book->links);
    return book;
}

static void book_free(struct book *book)
{
    link_index_fini(&book->index);
    for (int i = 0; i < LINKS; i++)
        pool_give(&book->pool, book->at[i]);
    pool_give(&book->pool, container_of(book->links, struct link, in_worker));
    pool_fini(&book->pool);
    free(book);
}

static struct link *look_up(struct book *book, uint64_t key, msec now)
{
    struct near_list *const lists[] = { book->links };
    return link_index_find(&book->index, key, lists, 1, now);
}

static void come(struct book *book, struct link *link, uint64_t key)
{
    link->key = key;
    near_list_push(book->links, &link->in_worker);
    link_index_add(&book->index, link);
}

static void leave(struct book *book, struct link *link)
{
    link_index_take(&book->index, link);
    near_list_take(&link->in_worker);
    link->key = 0;
}

/* Few distinct slots, so that most keys probe. */
static uint64_t crowded_key(size_t i)
{
    return (uint64_t)(i + 1) << 20 | i % 7;
}

static void what_came_is_found_and_nothing_else(void **state)
{
    (void)state;
    struct book *book = book_new();
    struct rng   rng  = { 5 };

    for (int step = 0; step < 20000; step++) {
        size_t       i    = rng_next(&rng) % LINKS;
        struct link *link = book->at[i];
        if (link->key == 0)
            come(book, link, crowded_key(i));
        else
            leave(book, link);
        size_t       other = rng_next(&rng) % LINKS;
        struct link *want  = book->at[other]->key != 0 ? book->at[other] : NULL;
        if (step > 500)
            assert_ptr_equal(look_up(book, crowded_key(other), step), want);
    }
    book_free(book);
}

static void it_costs_nothing_while_nobody_asks(void **state)
{
    (void)state;
    struct book *book = book_new();

    come(book, book->at[0], 7);
    assert_null(book->index.slots);
    assert_ptr_equal(look_up(book, 7, 1000), book->at[0]);
    come(book, book->at[1], 8);
    assert_ptr_equal(look_up(book, 8, 2000), book->at[1]);
    link_index_tick(&book->index, 2000 + LINK_INDEX_KEPT_MS - 1);
    assert_non_null(book->index.slots);
    link_index_tick(&book->index, 2000 + LINK_INDEX_KEPT_MS);
    assert_null(book->index.slots);
    leave(book, book->at[0]);
    assert_null(look_up(book, 7, 3000));
    assert_ptr_equal(look_up(book, 8, 3000), book->at[1]);
    book_free(book);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_came_is_found_and_nothing_else), cmocka_unit_test(it_costs_nothing_while_nobody_asks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
