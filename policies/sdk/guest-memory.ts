/**
 * The world's only import, as the canonical ABI lowers it. At `result`: a byte that is 0 for success; at `result` + 4 the
 * address of the bytes, or the errno; at `result` + 8 the length.
 */
@external('postern:device/guest-memory@0.2.0', 'read')
export declare function read(address: u64, length: u32, result: usize): void;
