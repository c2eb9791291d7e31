//! Argon2id alone, on as many threads as there are cores: the most sign-ins a second that any server could do here.

use std::time::{Duration, Instant};

use argon2::{Algorithm, Argon2, Block, Params, Version};

use crate::Result;
use crate::stats::real;

const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;
const LANES: u32 = 1;

pub fn rate(threads: usize, duration: Duration) -> Result<f64> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, Some(32)).map_err(|error| error.to_string())?;
    let began = Instant::now();
    let hashed = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(|| hash_until(&params, began, duration))).collect();
        workers
            .into_iter()
            .map(|worker| worker.join().map_err(|_| "a hashing thread panicked".to_owned())?)
            .sum::<std::result::Result<usize, String>>()
    })?;
    Ok(real(hashed) / began.elapsed().as_secs_f64())
}

fn hash_until(params: &Params, began: Instant, duration: Duration) -> std::result::Result<usize, String> {
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone());
    let mut memory = vec![Block::default(); params.block_count()];
    let mut output = [0; 32];
    let mut count: usize = 0;
    while began.elapsed() < duration {
        let salt = count.to_le_bytes().repeat(2);
        argon2
            .hash_password_into_with_memory(b"quiet-harbour-0000000-lantern", &salt, &mut output, &mut memory)
            .map_err(|error| error.to_string())?;
        count += 1;
    }
    Ok(count)
}
