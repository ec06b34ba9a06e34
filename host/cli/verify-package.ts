import { defaultTrustPath } from '../package/locations.js';
import { openPackage, readPackageFile } from '../package/package.js';
import { signatureFingerprints, verifySignatures } from '../package/signatures.js';
import { readTrustPolicy } from '../package/trust.js';
import { tryPackage } from '../package/try.js';
import { printJson, refusing } from './refusal.js';

/** `postern policy verify`: who signed it first, and only then what is in it. */
export async function verifyPackage(
  file: string,
  options: { trust?: string; json?: boolean },
): Promise<void> {
  await refusing(options.json, async () => {
    const trust = readTrustPolicy(options.trust ?? defaultTrustPath());
    const opened = openPackage(readPackageFile(file));
    const { manifest, members, digest, fileDigest } = opened;
    const signers = verifySignatures(members, manifest.class, trust, new Date());
    const { vectors } = await tryPackage(opened);
    const { name, version, sequence } = manifest;
    if (options.json)
      printJson({
        file,
        name,
        class: manifest.class,
        version,
        sequence,
        digest,
        fileDigest,
        signers,
        signatures: signatureFingerprints(members).length,
        vectors,
      });
    else
      process.stdout.write(
        `${file}: ${name} ${version} (sequence ${sequence}) of the class ${manifest.class} is good: signed by ${signers.join(', ')}; ${vectors} test vectors passed.\n`,
      );
  });
}
