//! The real thing.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::{Disk, DiskFile, Space};

/// A directory of the file system, made when the first file is; it and its files are for their owner only.
#[derive(Clone, Debug)]
pub struct Directory {
    path: PathBuf,
}

impl Directory {
    /// Nothing is touched yet.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn make(&self) -> io::Result<()> {
        if self.path.is_dir() {
            return Ok(());
        }
        if let Some(parent) = self.path.parent() {
            fs::create_dir_all(parent)?;
        }
        DirBuilder::new().mode(0o700).create(&self.path)?;
        match self.path.parent().map(File::open) {
            Some(Ok(parent)) => parent.sync_all(),
            _ => Ok(()),
        }
    }

    fn file(&self, name: &str) -> io::Result<PathBuf> {
        let is_plain = !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\0']);
        if !is_plain {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("`{}` is no name", name.escape_debug())));
        }
        Ok(self.path.join(name))
    }
}

impl Disk for Directory {
    fn list(&self) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let files = entries.filter_map(Result::ok).filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()));
        // A name that is not text is none of ours.
        Ok(files.filter_map(|entry| entry.file_name().into_string().ok()).collect())
    }

    fn size(&self, name: &str) -> io::Result<u64> {
        Ok(fs::metadata(self.file(name)?)?.len())
    }

    fn read_at(&self, name: &str, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut file = File::open(self.file(name)?)?;
        file.seek(SeekFrom::Start(offset))?;
        let mut n = 0;
        while n < buffer.len() {
            match file.read(&mut buffer[n..]) {
                Ok(0) => break,
                Ok(more) => n += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(n)
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.make()?;
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(self.file(name)?)?;
        Ok(Box::new(Open(file)))
    }

    fn append(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(Open(OpenOptions::new().append(true).open(self.file(name)?)?)))
    }

    fn shorten(&self, name: &str, size: u64) -> io::Result<()> {
        OpenOptions::new().write(true).open(self.file(name)?)?.set_len(size)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.file(from)?, self.file(to)?)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        match fs::remove_file(self.file(name)?) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    fn sync_directory(&self) -> io::Result<()> {
        match File::open(&self.path) {
            Ok(directory) => directory.sync_all(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn space(&self) -> io::Result<Space> {
        let mut path = self.path.as_path();
        while let (false, Some(parent)) = (path.exists(), path.parent()) {
            path = parent;
        }
        let room = rustix::fs::statvfs(path)?;
        let kind = rustix::fs::statfs(path)?.f_type;
        Ok(Space {
            free: room.f_bavail.saturating_mul(room.f_frsize),
            total: room.f_blocks.saturating_mul(room.f_frsize),
            in_memory: IN_MEMORY.iter().any(|&known| i128::from(known) == i128::from(kind)),
        })
    }

    fn shown(&self, name: &str) -> String {
        self.path.join(name).display().to_string()
    }
}

struct Open(File);

impl DiskFile for Open {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    fn sync_data(&mut self) -> io::Result<()> {
        self.0.sync_data()
    }
}

/// File systems that live in memory: tmpfs, ramfs (Linux, `include/uapi/linux/magic.h`).
const IN_MEMORY: [u32; 2] = [0x0102_1994, 0x8584_58F6];

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_directory_does_what_a_disk_promises() {
        let path = std::env::temp_dir().join(format!("polylink-disk-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        let disk = Directory::new(path.join("deep/inside"));
        assert_eq!(disk.list().unwrap(), Vec::<String>::new());
        disk.sync_directory().unwrap();
        assert!(disk.space().unwrap().total > 0);

        let mut file = disk.create("a").unwrap();
        file.write(b"one").unwrap();
        file.sync_data().unwrap();
        disk.append("a").unwrap().write(b"two").unwrap();
        assert_eq!((disk.size("a").unwrap(), disk.read("a", 6).unwrap()), (6, b"onetwo".to_vec()));
        assert_eq!(disk.read("a", 5).unwrap_err().kind(), io::ErrorKind::InvalidData);
        let mut buffer = [0; 9];
        assert_eq!((disk.read_at("a", 2, &mut buffer).unwrap(), &buffer[..4]), (4, &b"etwo"[..]));
        disk.shorten("a", 4).unwrap();
        assert_eq!(disk.read("a", 6).unwrap(), b"onet");
        disk.rename("a", "b").unwrap();
        disk.sync_directory().unwrap();
        assert_eq!(disk.list().unwrap(), ["b"]);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(disk.path()), mode(&disk.path().join("b"))), (0o700, 0o600));
        drop(disk.create("b").unwrap());
        assert_eq!(disk.size("b").unwrap(), 0);
        disk.remove("b").unwrap();
        disk.remove("b").unwrap();
        assert_eq!(disk.append("b").err().map(|error| error.kind()), Some(io::ErrorKind::NotFound));
        for name in ["", ".", "..", "../b", "a/b", "a\0"] {
            assert_eq!(disk.create(name).err().map(|error| error.kind()), Some(io::ErrorKind::InvalidInput), "{name}");
        }
        fs::remove_dir_all(&path).unwrap();
    }
}
