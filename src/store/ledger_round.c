#include "store/ledger_round.h"

#include "base/must.h"
#include "store/ledger_page.h"

void ledger_round_check(const struct ledger_round *round)
{
    must(round->read_count >= 1 && round->read_count <= ROUND_READS && round->heads.count <= STORE_HEADS_MAX);
    for (size_t i = 0; i < round->read_count; i++) {
        must(round->of[i].read.way == LEDGER_SCAN);
        ledger_read_check(&round->of[i].read);
    }
}

void ledger_round_refuse(struct ledger_round *round, enum rc rc)
{
    for (size_t i = 0; i < round->heads.count; i++)
        round->heads.heads[i] = (struct store_head){ .rc = rc };
    for (size_t i = 0; i < round->read_count; i++)
        ledger_read_refuse(&round->of[i].read, rc);
}

static void round_read_done(struct ledger_read *read)
{
    struct ledger_round *round  = container_of(read, struct round_read, read)->round;
    struct ledger       *ledger = round->store->ledger;

    if (++round->at < round->read_count)
        ledger->ops->read(ledger, &round->of[round->at].read);
    else
        round->done(round);
}

static void round_read_first(struct ledger_round *round)
{
    round->store->ledger->ops->read(round->store->ledger, &round->of[0].read);
}

static void round_heads_done(struct store_heads *heads)
{
    round_read_first(container_of(heads, struct ledger_round, heads));
}

void ledger_round_in_turn(struct store *store, struct ledger_round *round)
{
    round->store      = store;
    round->at         = 0;
    round->heads.done = round_heads_done;
    for (size_t i = 0; i < round->read_count; i++) {
        round->of[i].round     = round;
        round->of[i].read.done = round_read_done;
    }
    if (round->heads.count > 0)
        store->ops->heads(store, &round->heads);
    else
        round_read_first(round);
}

void ledger_round_ask(struct store *store, struct ledger_round *round)
{
    ledger_round_check(round);
    if (store->ledger->ops->round != NULL)
        store->ledger->ops->round(store->ledger, round);
    else
        ledger_round_in_turn(store, round);
}
