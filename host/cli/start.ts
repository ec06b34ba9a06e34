import { runDemonstration } from './demonstration.js';

try {
  await runDemonstration();
} catch (error) {
  process.stderr.write(`postern: ${error instanceof Error ? error.message : error}\n`);
  process.exitCode = 1;
}
