"""File trees of machines, as their kernels write them: /proc, /sys and /etc in small, for readers to read.

Modes and paths of the Orin Nano are those of nvpmodel_p3767_0003_super.conf; of the AGX Orin nvpmodel_p3701_0000.conf;
cooling devices, over-current counters and the Thor's GPU node as seen in reports from such boards.
"""

from __future__ import annotations

from pathlib import Path

Tree = dict[str, str]


def plant(root: Path, files: Tree) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


def cpus(count: int, *, now: int, least: int, most: int, possible: int, governor: str) -> Tree:
    """Clock files of `count` CPUs, in kHz."""
    values = {
        "scaling_cur_freq": now,
        "scaling_min_freq": least,
        "scaling_max_freq": most,
        "cpuinfo_max_freq": possible,
        "scaling_governor": governor,
    }
    return {
        f"sys/devices/system/cpu/cpu{cpu}/cpufreq/{name}": f"{value}\n"
        for cpu in range(count)
        for name, value in values.items()
    }


def gpu(node: str, *, now: int, least: int, most: int) -> Tree:
    """The GPU's node of devfreq, in Hz."""
    folder = f"sys/class/devfreq/{node}"
    return {f"{folder}/cur_freq": f"{now}\n", f"{folder}/min_freq": f"{least}\n", f"{folder}/max_freq": f"{most}\n"}


def zone(number: int, kind: str, millidegrees: int, trips: tuple[tuple[str, int], ...] = ()) -> Tree:
    folder = f"sys/class/thermal/thermal_zone{number}"
    files = {f"{folder}/type": f"{kind}\n", f"{folder}/temp": f"{millidegrees}\n"}
    for index, (meaning, at) in enumerate(trips):
        files[f"{folder}/trip_point_{index}_type"] = f"{meaning}\n"
        files[f"{folder}/trip_point_{index}_temp"] = f"{at}\n"
    return files


def cooling(number: int, kind: str, state: int) -> Tree:
    folder = f"sys/class/thermal/cooling_device{number}"
    return {f"{folder}/type": f"{kind}\n", f"{folder}/cur_state": f"{state}\n", f"{folder}/max_state": "4\n"}


ORIN_NANO_SUPER: Tree = {
    "proc/cpuinfo": "Features\t: asimd asimddp\nCPU part\t: 0xd42\n",
    "proc/device-tree/model": "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super\0",
    "proc/loadavg": "0.21 0.30 0.20 1/300 5000\n",
    "proc/meminfo": "MemTotal:        7802884 kB\nMemFree:          412345 kB\nMemAvailable:    5412345 kB\n"
    "SwapTotal:       3901440 kB\nSwapFree:        3799040 kB\n",
    "etc/nv_tegra_release": "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64\n",
    "etc/os-release": 'PRETTY_NAME="Ubuntu 22.04.5 LTS"\n',
    "etc/nvpmodel.conf": "# < POWER_MODEL ID=id_num NAME=mode_name >\n< PARAM TYPE=FILE NAME=CPU_ONLINE >\n"
    "CORE_0 /sys/devices/system/cpu/cpu0/online\n\n< POWER_MODEL ID=0 NAME=15W >\nGPU MAX_FREQ 612000000\n"
    "< POWER_MODEL ID=1 NAME=25W >\nGPU MAX_FREQ 918000000\n< POWER_MODEL ID=2 NAME=MAXN_SUPER >\nGPU MAX_FREQ -1\n"
    "< PM_CONFIG DEFAULT=1 >\n",
    "var/lib/nvpmodel/status": "pmode:0002\n",
    **cpus(6, now=1728000, least=1728000, most=1728000, possible=1728000, governor="schedutil"),
    **gpu("17000000.gpu", now=1020000000, least=1020000000, most=1020000000),
    "sys/devices/platform/gpu.0/load": "345\n",
    **zone(0, "cpu-thermal", 48562, (("active", 50000), ("passive", 99000), ("critical", 104500))),
    **zone(1, "cv0-thermal", -256000),
    **zone(2, "tj-thermal", 49312, (("hot", 97000), ("critical", 105000))),
    **cooling(0, "pwm-fan", 2),
    **cooling(1, "cpu-throttle-alert", 0),
    **cooling(2, "devfreq-17000000.gpu", 0),
    "sys/class/hwmon/hwmon0/name": "pwmfan\n",
    "sys/class/hwmon/hwmon0/pwm1": "76\n",
    "sys/class/hwmon/hwmon1/name": "pwm_tach\n",
    "sys/class/hwmon/hwmon1/rpm": "1636\n",
    "sys/class/hwmon/hwmon3/name": "soctherm_oc\n",
    "sys/class/hwmon/hwmon3/oc1_event_cnt": "0\n",
    "sys/class/hwmon/hwmon3/oc3_event_cnt": "37\n",
}

XAVIER_NX: Tree = {
    "proc/device-tree/model": "NVIDIA Jetson Xavier NX Developer Kit\0",
    "etc/nv_tegra_release": "# R35 (release), REVISION: 4.1, GCID: 33958178, BOARD: t186ref, EABI: aarch64\n",
    "etc/nvpmodel.conf": "< POWER_MODEL ID=0 NAME=MODE_15W_2CORE >\n< POWER_MODEL ID=2 NAME=MODE_15W_6CORE >\n"
    "< POWER_MODEL ID=8 NAME=MODE_20W_6CORE >\n< PM_CONFIG DEFAULT=2 >\n",
    "var/lib/nvpmodel/status": "pmode:0002 fmode:quiet\n",
    **cpus(6, now=1190400, least=115200, most=1420800, possible=1907200, governor="schedutil"),
    **gpu("17000000.gv11b", now=114750000, least=114750000, most=1109250000),
    "sys/devices/gpu.0/load": "0\n",
    **zone(0, "AO-therm", 45000),
    **zone(1, "CPU-therm", 46500, (("passive", 95500),)),
    **zone(2, "PMIC-Die", 50000),
    **cooling(0, "CPU-balanced", 0),
    "sys/devices/pwm-fan/cur_pwm": "80\n",
    "sys/devices/pwm-fan/rpm_measured": "2100\n",
}

NANO: Tree = {
    "proc/device-tree/model": "NVIDIA Jetson Nano Developer Kit\0",
    "etc/nv_tegra_release": "# R32 (release), REVISION: 7.1, GCID: 29818004, BOARD: t210ref, EABI: aarch64\n",
    "etc/nvpmodel.conf": "< POWER_MODEL ID=0 NAME=MAXN >\n< POWER_MODEL ID=1 NAME=5W >\n< PM_CONFIG DEFAULT=0 >\n",
    "var/lib/nvpmodel/status": "pmode:0000 fmode:quiet\n",
    **cpus(4, now=1479000, least=1479000, most=1479000, possible=1479000, governor="schedutil"),
    **gpu("57000000.gpu", now=921600000, least=921600000, most=921600000),
    **zone(0, "AO-therm", 46000),
    **zone(1, "CPU-therm", 39500, (("passive", 97000),)),
    **zone(2, "PMIC-Die", 100000, (("passive", 120000),)),
    "sys/kernel/debug/clk/emc/clk_rate": "1600000000\n",
}

THOR: Tree = {
    "proc/device-tree/model": "NVIDIA Jetson AGX Thor Developer Kit\0",
    "etc/nv_tegra_release": "# R38 (release), REVISION: 2.0, GCID: 41844464, BOARD: generic, EABI: aarch64\n",
    "etc/nvpmodel.conf": "< POWER_MODEL ID=0 NAME=MAXN >\n< POWER_MODEL ID=1 NAME=120W >\n",
    "var/lib/nvpmodel/status": "pmode:0001\n",
    **cpus(14, now=972000, least=54000, most=2601000, possible=2601000, governor="schedutil"),
    **gpu("gpu-gpc-0", now=315000000, least=315000000, most=1575000000),
    **cooling(9, "gpu-throttle-alert", 1),
    **cooling(12, "devfreq-gpu-gpc-0", 18),
}

RASPBERRY_PI_5: Tree = {
    "proc/cpuinfo": "processor\t: 0\nBogoMIPS\t: 108.00\nFeatures\t: fp asimd aes crc32 asimddp\nCPU part\t: 0xd0b\n\n"
    "Revision\t: d04170\nModel\t\t: Raspberry Pi 5 Model B Rev 1.0\n",
    "proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0\0",
    **cpus(4, now=1500000, least=1500000, most=2400000, possible=2400000, governor="ondemand"),
    **zone(0, "cpu-thermal", 61350, (("critical", 110000), ("active", 50000))),
    "sys/devices/platform/soc@107c000000/soc@107c000000:firmware/get_throttled": "50005\n",
    "sys/fs/cgroup/cpu.max": "max 100000\n",
}

XEON: Tree = {
    "proc/cpuinfo": "processor\t: 0\nmodel name\t: Intel(R) Xeon(R) Processor @ 2.50GHz\n"
    "flags\t\t: fpu sse avx avx2 avx512f avx512_vnni\n\nprocessor\t: 1\nmodel name\t: other\n",
    "proc/loadavg": "0.71 0.89 1.18 4/92 4696\n",
    "proc/meminfo": "MemTotal:       16384000 kB\nMemFree:  1 kB\n",
    "proc/sys/kernel/osrelease": "6.1.0-18-amd64\n",
    "etc/os-release": 'NAME="Debian"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n',
    "sys/devices/system/cpu/cpu0/topology/core_cpus_list": "0,4\n",
    "sys/devices/system/cpu/cpu4/topology/core_cpus_list": "0,4\n",
    "sys/devices/system/cpu/cpu1/topology/thread_siblings_list": "1,5\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "powersave\n",
    "sys/devices/system/cpu/cpu1/cpufreq/scaling_governor": "performance\n",
    "sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count": "3\n",
    "sys/devices/system/cpu/cpu1/thermal_throttle/core_throttle_count": "4\n",
    "sys/fs/cgroup/cpu.max": "150000 100000\n",
    **zone(0, "acpitz", 27800, (("passive", 0), ("critical", 119000))),
    **zone(1, "acpitz", 29800),
    **cooling(0, "Processor", 0),
    **cooling(1, "intel_powerclamp", -1),
    **cooling(2, "TCC Offset", 10),
}

ALL = {
    "orin-nano-super": ORIN_NANO_SUPER,
    "xavier-nx": XAVIER_NX,
    "nano": NANO,
    "thor": THOR,
    "raspberry-pi-5": RASPBERRY_PI_5,
    "xeon": XEON,
}
