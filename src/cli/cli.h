/* cli: the verbs. One table gives dispatch, help and shell completion; one file per group of verbs.
 *
 * Manners: stdout is data, stderr is talk; colour only on a terminal and without NO_COLOR; --json
 * on every reading verb with "version": 1; secrets by file or stdin, never argv; every error says
 * what, why and what next. Exit codes: 0 ok, 1 failed, 2 usage, 3 not running or not connected, 4
 * authentication refused, 5 peer unreachable, 6 configuration invalid, 7 permission, 8 a check
 * found a fault, 9 nothing in common with the peer (algorithms, networks), 10 a port or a name is
 * in use, 11 the kernel lacks something (TUN).
 */
#ifndef SHRIKE_CLI_H
#define SHRIKE_CLI_H

#include "conf/conf.h"

enum exit_code {
    EXIT_OK = 0,
    EXIT_FAILED = 1,
    EXIT_USAGE = 2,
    EXIT_NOT_RUNNING = 3,
    EXIT_AUTH = 4,
    EXIT_UNREACHABLE = 5,
    EXIT_CONFIG = 6,
    EXIT_PERMISSION = 7,
    EXIT_FAULT = 8,
    EXIT_MISMATCH = 9,
    EXIT_IN_USE = 10,
    EXIT_LACKING = 11,
};
/* What the verbs that start processes need from run/, which cli/ does not know. */
struct cli_host {
    int (*run_monitor)(struct conf *conf, int ready_fd);
};
int cli_main(int argc, char **argv, const struct cli_host *host);

#endif
