/* The PostgreSQL maker, against a server of the test's own: both batteries, and what happens when the server or the way
 * to it fails. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "store/ledger_battery.h"
#include "store/pg_battery.h"

#include <cmocka.h>

int main(int argc, char **argv)
{
    if (argc == 2)
        cmocka_set_test_filter(argv[1]);
    if (!engine_start())
        return 0;
    int failed = store_battery_run(&pg_maker) + ledger_battery_run(&pg_maker);
    engine_stop();
    return failed;
}
