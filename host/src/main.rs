//! temporary
fn main() {
    for p in std::env::args().skip(1) {
        let o = wcodec::EncodeOptions::default();
        let f = std::fs::read(&p).unwrap();
        let t = std::time::Instant::now();
        let (b, r) = wcodec::encode_safetensors_bytes(&f, &o).unwrap();
        let te = t.elapsed().as_secs_f64();
        let c = wcodec::Checkpoint::from_bytes(b).unwrap();
        let t = std::time::Instant::now();
        let back = c.restore_bytes().unwrap();
        let td = t.elapsed().as_secs_f64();
        assert!(back == f);
        let payload: u64 = r.tensors.iter().map(|t| t.encoded_bytes).sum();
        println!(
            "{:40} {:.4} index {} tables {} enc {:.0} MB/s dec {:.0} MB/s",
            p.rsplit('/').next().unwrap(),
            r.compression_ratio(),
            r.encoded_bytes - payload,
            c.table_count(),
            f.len() as f64 / te / 1e6,
            f.len() as f64 / td / 1e6
        );
        if std::env::var("V").is_ok() {
            for t in c.tensors() {
                println!(
                    "   {} {:?} {} -> {} {:?}",
                    t.name(),
                    t.shape(),
                    t.byte_len(),
                    t.encoded_bytes(),
                    t.plans()
                );
            }
        }
    }
}
