/* connection_command.h - a question about one connection, from any loop: it travels to the loop that has the connection,
 * by way of the writer, and back. There it tells what the connection is, and ends it if the asker wants that. */
#ifndef NODE_CONNECTION_COMMAND_H
#define NODE_CONNECTION_COMMAND_H

#include "node/command.h"

enum {
    CONNECTION_USER_BYTES_MAX    = 128,
    CONNECTION_DEVICE_BYTES_MAX  = 64,
    CONNECTION_ADDRESS_BYTES_MAX = 63,
};

struct connection_command {
    struct command command;
    uint64_t       key;
    bool           is_cut;      /* the connection is to be ended */
    unsigned       loop;        /* that has it, if it is there at all */
    unsigned       asker;
    bool           is_home;
    /* The answer, by shard_port.connection(). */
    bool           is_there;
    const char    *transport;   /* static */
    msec           since;       /* wall clock */
    uint32_t       channels;    /* that it follows */
    char           user[CONNECTION_USER_BYTES_MAX + 1];      /* "": nobody */
    char           device[CONNECTION_DEVICE_BYTES_MAX + 1];  /* "": none */
    char           address[CONNECTION_ADDRESS_BYTES_MAX + 1];
    void         (*answered)(struct connection_command *command);  /* on the asker's loop; takes the command */
    void          *owner;
};

struct connection_command *connection_command_new(uint64_t key);

/* Never answers at once. A connection of another node is not there. Takes the command. */
void shard_ask_connection(struct shard *shard, struct connection_command *command);

#endif
