//! Facts about processes and the machine, from `/proc`.

use std::{fs, time::Duration};

use anyhow::{Context, Result};

/// User and system time of all threads of a process (proc_pid_stat(5), fields 14 and 15).
pub(crate) fn cpu(pid: u32) -> Result<Duration> {
    let path = format!("/proc/{pid}/stat");
    let stat = fs::read_to_string(&path)
        .with_context(|| format!("cannot read {path}: has the process ended?"))?;
    cpu_in_stat(&stat).with_context(|| format!("{path} is not as proc_pid_stat(5) says"))
}

/// Resident memory of a process, in bytes (`VmRSS`).
pub(crate) fn resident(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&path)
        .with_context(|| format!("cannot read {path}: has the process ended?"))?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .context("no VmRSS")?;
    let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kilobytes * 1024)
}

/// The direct children of a process.
pub(crate) fn children(pid: u32) -> Result<Vec<u32>> {
    let list = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
    list.split_whitespace()
        .map(|pid| Ok(pid.parse()?))
        .collect()
}

/// Time that all cores together were busy or stolen by the hypervisor, since boot (proc_stat(5)).
pub(crate) fn machine_busy() -> Result<Duration> {
    let stat = fs::read_to_string("/proc/stat")?;
    let first = stat.lines().next().context("/proc/stat is empty")?;
    let ticks: Vec<u64> = first
        .split_whitespace()
        .skip(1)
        .map(str::parse)
        .collect::<Result<_, _>>()?;
    // user nice system idle iowait irq softirq steal guest guest_nice; the guests are counted in
    // user already.
    let busy = ticks
        .iter()
        .take(8)
        .enumerate()
        .filter(|(field, _)| !matches!(field, 3 | 4))
        .map(|(_, ticks)| ticks)
        .sum();
    Ok(from_ticks(busy))
}

/// One line for the report: processor, cores, kernel.
pub(crate) fn machine() -> String {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or("unknown processor", |rest| {
            rest.trim_start_matches([' ', '\t', ':'])
        });
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let all = cpus
        .lines()
        .filter(|line| line.starts_with("processor"))
        .count()
        .max(cores);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{model}, {all} cores, Linux {}", kernel.trim())
}

fn cpu_in_stat(stat: &str) -> Option<Duration> {
    // The second field is the command in brackets and may contain anything, so fields are counted
    // after the last bracket.
    let (_, after) = stat.rsplit_once(')')?;
    let mut fields = after.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(from_ticks(user + system))
}

fn from_ticks(ticks: u64) -> Duration {
    Duration::from_millis(ticks * 1000 / TICKS_A_SECOND)
}

/// `USER_HZ`, which the kernel's interface fixes at 100 on every architecture that Keyside is built
/// for.
const TICKS_A_SECOND: u64 = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_read_past_a_command_with_brackets() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194560 1 2 3 4 150 50 0 0 20 0 1 0 100 0 0";
        assert_eq!(cpu_in_stat(stat), Some(Duration::from_secs(2)));
    }
}
