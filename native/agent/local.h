/* The agent as a locked-down process over this machine's own devices. */
#ifndef POSTERN_AGENT_LOCAL_H
#define POSTERN_AGENT_LOCAL_H

/* Options: --control FD --doorbell FD --memory FD --events FD,FD,... (one a channel). Returns an exit status. */
int local_main(int count, char **arguments);

#endif
