/** Errors of the system that a user can do something about: what is wrong, and what to do. Others are told as the system tells them. */
const IN_WORDS: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file or folder',
  EEXIST: 'it is there already, and stays as it is: choose another name, or remove it first',
  EACCES: 'this user may not do that: see who owns it, and what its mode is (ls -ld)',
  EPERM: 'this user may not do that: see who owns it, and what its mode is (ls -ld)',
  EISDIR: 'it is a folder, expected a file',
  ENOTDIR: 'a part of the path is a file, expected a folder',
  ELOOP: 'it is, or leads through, a symbolic link that may not be followed',
  ENAMETOOLONG: 'the name is too long for the file system',
  EROFS: 'the file system is read-only',
  ENOSPC: 'the file system is full: make room, then try again',
  EDQUOT: 'this user’s quota is used up: make room, then try again',
  EMFILE: 'this process has too many files open (ulimit -n)',
};

/** What is wrong by an error of the system, in words; undefined where there are none for it. */
export function systemWords(error: unknown): string | undefined {
  const code = (error as NodeJS.ErrnoException | null)?.code;
  return code === undefined ? undefined : IN_WORDS[code];
}
