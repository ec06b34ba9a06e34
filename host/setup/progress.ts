import ora from 'ora';

/** How often a step that says nothing reports that it lives, where there is no spinner to show it. */
const SIGN_OF_LIFE_MS = 10_000;
const MS_PER_SECOND = 1000;

/** Tells a waiting person what a step is doing now, in a few words. */
export type Note = (text: string) => void;

/**
 * Runs `work` and shows on standard error that it runs and how long it took: a spinner on a terminal, plain lines elsewhere.
 * @param label what happens, such as 'Fetching the kernel'
 */
export async function withProgress<T>(label: string, work: (note: Note) => Promise<T>): Promise<T> {
  const display = process.stderr.isTTY ? startSpinner(label) : startLines(label);
  const startedMs = Date.now();
  const seconds = (): string => `${((Date.now() - startedMs) / MS_PER_SECOND).toFixed(1)} s`;
  try {
    const result = await work(display.note);
    display.end(`${label}: done (${seconds()})`, true);
    return result;
  } catch (error) {
    display.end(`${label}: failed (${seconds()})`, false);
    throw error;
  }
}

interface Display {
  note: Note;
  end(text: string, success: boolean): void;
}

function startSpinner(label: string): Display {
  const spinner = ora({ text: label, stream: process.stderr, discardStdin: false }).start();
  return {
    note: (text) => {
      spinner.text = `${label}: ${text}`;
    },
    end: (text, success) => {
      if (success) spinner.succeed(text);
      else spinner.fail(text);
    },
  };
}

function startLines(label: string): Display {
  let last = label;
  const print = (text: string): void => {
    process.stderr.write(`${text}\n`);
  };
  print(`${label} ...`);
  const timer = setInterval(() => print(`${last} ...`), SIGN_OF_LIFE_MS);
  timer.unref();
  return {
    note: (text) => {
      last = `${label}: ${text}`;
    },
    end: (text) => {
      clearInterval(timer);
      print(text);
    },
  };
}
