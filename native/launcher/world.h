/* The guest's private view of the file system, built from the host's plan. */
#ifndef POSTERN_WORLD_H
#define POSTERN_WORLD_H

/* Executes the plan: lines of TAB-separated words (the launcher itself takes first lines `net-admin`: keep CAP_NET_ADMIN, and `polls`: poll and its kin are the host's). Returns 0, or -1 with a message in `error`.
 *
 *   keep PATH                      clone what is mounted or stands at PATH, before it is covered
 *   attach PATH                    put the clone back at PATH (a file or a directory is made for it)
 *   nodev                          no device node opens on any mount that exists now
 *   read-only PATH                 what is mounted at PATH and below it can't be written any more
 *   tmpfs PATH MODE                a fresh tmpfs, on which no device node opens
 *   devpts PATH | proc PATH        fresh instances of these; of a /proc that root has, what sets up the whole machine is read-only
 *   dir PATH MODE
 *   node PATH MODE MAJOR MINOR     a character device node; a regular file where mknod isn't permitted
 *   symlink TARGET PATH
 *   stand-ins                      what the kernel's /proc lacks is found below /dev/.proc: the host opens and stats by name
 *   file PATH HEX                  a read-only file with these bytes; without them an empty one
 */
int build_world(char *plan, char *error, unsigned long error_bytes);

/* Whether a regular file stands in for some device node, as mknod was not permitted, or for what the kernel's /proc lacks. */
int world_has_stand_ins(void);
/* Whether the guest has terminals of its own. Where it has none, terminals are devices that are judged. */
int world_has_terminals(void);

#endif
