/* row_kind.h - the kinds of rows in the ledger (store/ledger.h): the one place that assigns their numbers.
 *
 * A key is up to three names, joined by one 0 byte each: no name holds that byte. A row that belongs to a user begins
 * with the user's name, so that all of a user's rows lie in one slot of a ledger that is spread over databases.
 *
 * | kind       | key                          | generation                    | value                              |
 * | SESSION    | user · device                | the session's                 | struct session_row (row.h)         |
 * | PLACE      | user · device · channel      | acknowledged seq + 1          | struct place_row                   |
 * | GROUP      | user · group                 | seq of the membership message | struct group_spans                 |
 * |            |                              | in the log of the user        |                                    |
 * | MEMBER     | group · user                 | as the GROUP row's            | an index of it                     |
 * | REVOCATION | what is revoked · its name   | second of the revocation      | its reason                         |
 * | SECRET     | what it signs                | 1 and up                      | a key that the server made itself  |
 * | READ_MARK  | user · channel               | the seq up to which it is read | struct place_row                  |
 * | CURSOR     | forwarder/part · channel     | 1 and up, with each change    | how far the forwarder is in the channel, and the     |
 * |            |                              |                               | batch that is under way (uplink/work_lease.h)        |
 * | LEASE      | forwarder/part               | the lease's number, raised by | the node that carries the part (uplink/work_lease.h) |
 * |            |                              | each take-over                |                                                      |
 * | REQUEST    | user · device · id           | the seq of its response       | uplink/request_row.h       |
 * | CALL       | user · device · id (· piece) | 1, raised by each take-over   | uplink/request_row.h       |
 * | CALLS      | start of the node · a number  | 1                             | uplink/request_row.h: calls of a node alone |
 * | RESPONSES  | user · device                | bytes of all answers + 1      | a version                  |
 * | LINK       | log · start of the node · connection | 1                     | a live link whose end will be told (link_row.h) |
 * | OCCUPANCY  | log · channel                        | 1 and up                | nodes with devices in the channel (occupancy_row.h) |
 * | EVENT      | user or group · a name of its own    | the seq that it tells | an event that is not in its log yet (event_row.h) |
 *
 * A group is named as in its channel, without `group:`. */
#ifndef DEVICE_ROW_KIND_H
#define DEVICE_ROW_KIND_H

enum row_kind {
    ROW_SESSION    = 1,
    ROW_PLACE      = 2,
    ROW_GROUP      = 3,
    ROW_MEMBER     = 4,
    ROW_REVOCATION = 5,
    ROW_SECRET     = 6,
    ROW_READ_MARK  = 7,
    ROW_REQUEST    = 8,
    ROW_CALL       = 9,
    ROW_CURSOR     = 10,
    ROW_LEASE      = 11,
    ROW_LINK       = 12,
    ROW_RESPONSES  = 13,
    ROW_EVENT      = 14,
    ROW_OCCUPANCY  = 15,
    ROW_CALLS      = 16,
};

#endif
