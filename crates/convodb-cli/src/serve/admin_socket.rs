//! Admin socket: a Unix socket for the operator's requests.
//!
//! Only the server's own system user can open it, from the moment it exists. Removed when the
//! server stops.

#[cfg(unix)]
pub(crate) use self::unix::AdminSocket;

#[cfg(unix)]
mod unix {
    use std::fs::{self, Permissions};
    use std::io;
    use std::os::unix::fs::{FileTypeExt, PermissionsExt};
    use std::os::unix::net::UnixStream;
    use std::path::{Path, PathBuf};

    use anyhow::{Context, Result, bail};
    use tokio::net::UnixListener;

    /// The bound socket. Removes its file when it is dropped.
    pub(crate) struct AdminSocket {
        path: PathBuf,
    }

    impl AdminSocket {
        /// Listens at `path`, in place of a socket that a crashed server left. Needs a Tokio
        /// runtime.
        pub(crate) fn bind(path: &Path) -> Result<(Self, UnixListener)> {
            Self::try_bind(path)
                .with_context(|| format!("cannot listen on the admin socket {}", path.display()))
        }

        fn try_bind(path: &Path) -> Result<(Self, UnixListener)> {
            match fs::symlink_metadata(path) {
                Ok(found) if !found.file_type().is_socket() => {
                    bail!("the path is an existing file")
                }
                Ok(_) if UnixStream::connect(path).is_ok() => bail!("another server listens there"),
                _ => {}
            }
            let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            // Created in a private directory, so that nobody can connect before the mode is set. The
            // directory has its mode from the moment it exists.
            let private = tempfile::Builder::new()
                .prefix(".convodb-")
                .permissions(Permissions::from_mode(0o700))
                .tempdir_in(parent.unwrap_or(Path::new(".")))?;
            let created = private.path().join("s");
            let listener = UnixListener::bind(&created)?;
            fs::set_permissions(&created, Permissions::from_mode(0o600))?;
            fs::rename(&created, path)?;
            Ok((Self { path: path.to_owned() }, listener))
        }
    }

    impl Drop for AdminSocket {
        fn drop(&mut self) {
            match fs::remove_file(&self.path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    tracing::warn!(cause = %error, "cannot remove the admin socket");
                }
                _ => {}
            }
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[tokio::test]
        async fn a_socket_is_private_and_replaces_a_stale_one() {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("admin");
            let (socket, listener) = AdminSocket::bind(&path).unwrap();
            let mode = fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
            assert!(AdminSocket::bind(&path).is_err(), "it is in use");
            drop(listener);
            std::mem::forget(socket);
            let (socket, _listener) = AdminSocket::bind(&path).unwrap();
            drop(socket);
            assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
            fs::write(&path, "precious").unwrap();
            assert!(AdminSocket::bind(&path).is_err());
            assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
        }
    }
}
