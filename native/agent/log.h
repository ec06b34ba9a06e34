/* Lines for the host's log. Any process of the agent may write them; the control server sends them as LOG frames. */
#ifndef POSTERN_AGENT_LOG_H
#define POSTERN_AGENT_LOG_H

/* Longest line in bytes: below PIPE_BUF, so that lines of several processes never mix. */
#define LOG_LINE_BYTES_MAX 512

/* Makes the pipe. Returns 0 or -errno; until then, lines go to stderr. */
int log_open(void);
/* The end that the control server reads. */
int log_read_end(void);
/* One line, printf-style, without the newline. Never blocks: when the pipe is full the line is lost. */
void log_line(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
