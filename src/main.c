/* argv -> verb; the verbs that start processes get them from run/. */
#include "cli/cli.h"
#include "run/run.h"

int main(int argc, char **argv)
{
    static const struct cli_host host = {.run_monitor = run_monitor};
    run_title_room(argc, argv);
    return cli_main(argc, argv, &host);
}
