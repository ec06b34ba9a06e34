import { classSource, createPackage } from '../package/create.js';
import { replaceFile } from '../package/durable.js';
import { packageFileName } from '../package/package.js';
import { printJson, refusing } from './refusal.js';

/** `postern policy build`: compiles a class, tries it on its vectors, and packs it. */
export async function buildPackage(
  which: string,
  options: { output?: string; json?: boolean },
): Promise<void> {
  await refusing(options.json, async () => {
    const { name, folder } = classSource(which);
    const { file, examined, vectors } = await createPackage(name, folder);
    const output = options.output ?? packageFileName(examined.manifest);
    replaceFile(output, file);
    const { manifest, digest, fileDigest } = examined;
    const { version, sequence, envelope } = manifest;
    if (options.json)
      printJson({
        file: output,
        name,
        class: manifest.class,
        version,
        sequence,
        digest,
        fileDigest,
        commands: envelope.commands?.length,
        vectors,
      });
    else
      process.stdout.write(
        `${output}: ${name} ${version} (sequence ${sequence}), ${envelope.commands?.length} commands, ${vectors} test vectors passed; unsigned.\n`,
      );
  });
}
