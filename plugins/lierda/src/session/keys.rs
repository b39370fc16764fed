//! What the platform has given the device: its secret, and the keys that payloads are encrypted with.

use polylink_plugin_sdk::secret::Secret;
use polylink_plugin_sdk::{Now, Timestamp};

use crate::auth::{AuthType, Identity, SessionMaterial};
use crate::cipher::{self, CipherError, Key};
use crate::config::{SessionKeySource, Settings};

/// What the platform has given the device.
#[derive(Debug, Default)]
pub struct Enrolment {
    device_secret: Option<(Secret<String>, Key)>,
    session: Option<SessionKeys>,
    /// An authentication succeeded since the start.
    authenticated: bool,
    /// The broker does not take the secret any more.
    distrusted: bool,
}

/// Keys of an encrypted product.
#[derive(Debug)]
pub struct SessionKeys {
    /// What the key is made of.
    pub material: SessionMaterial,
    /// For what is sent, and for what comes.
    pub current: Key,
    /// For what comes, until the first message by the new one.
    pub previous: Option<Previous>,
}

/// The key before the last renewal.
#[derive(Debug)]
pub struct Previous {
    /// What it is made of.
    pub material: SessionMaterial,
    /// It.
    pub key: Key,
    /// It counts until then; `None`: from now on, as after a restart.
    until: Option<Timestamp>,
}

impl Enrolment {
    /// What is burnt in.
    pub fn new(settings: &Settings) -> Self {
        let mut enrolment = Self::default();
        if let Some(secret) = settings.device_secret.clone() {
            enrolment.set_secret(secret);
        }
        enrolment
    }

    /// The secret as a key.
    pub fn device_key(&self) -> Option<&Key> {
        self.device_secret.as_ref().map(|(_, key)| key)
    }

    /// The secret as it came.
    pub fn device_secret(&self) -> Option<&Secret<String>> {
        self.device_secret.as_ref().map(|(secret, _)| secret)
    }

    /// Keys of an encrypted product.
    pub const fn session(&self) -> Option<&SessionKeys> {
        self.session.as_ref()
    }

    /// True if something is missing that the platform has to give.
    pub fn wants_authentication(&self, settings: &Settings) -> bool {
        let is_missing = self.device_secret.is_none() || (settings.encrypted && self.session.is_none());
        is_missing || self.distrusted || (settings.auth_every_start && !self.authenticated)
    }

    /// True if an authentication could give something new.
    pub fn can_authenticate(&self, settings: &Settings) -> bool {
        settings.auth_type != AuthType::SecretPerDevice || settings.encrypted
    }

    /// The broker does not take the secret any more.
    pub const fn distrust(&mut self) {
        self.distrusted = true;
    }

    /// Takes the answer to an authentication. Returns what an operator should know.
    pub fn take(
        &mut self,
        settings: &Settings,
        secret: Secret<String>,
        session: Option<SessionMaterial>,
    ) -> Result<Vec<String>, String> {
        let mut warnings = Vec::new();
        if !Identity::key_ok(secret.expose()) {
            return Err("its DeviceSecret is not 32 hexadecimal digits".to_owned());
        }
        let before = self.device_secret.take();
        match &settings.device_secret {
            Some(burnt_in) => {
                if !burnt_in.expose().eq_ignore_ascii_case(secret.expose()) {
                    warnings
                        .push("the platform knows another device_secret than the settings; theirs is used".to_owned());
                }
                self.set_secret(burnt_in.clone());
            }
            None => self.set_secret(secret),
        }
        match (settings.encrypted, session) {
            (true, None) => {
                self.device_secret = before;
                return Err("it has no session, and the product is encrypted".to_owned());
            }
            (true, Some(material)) => warnings.extend(self.renew(settings, material, None)?),
            (false, Some(_)) => {
                warnings.push("the platform says that the product is encrypted; `encrypted` is not set".to_owned())
            }
            (false, None) => {}
        }
        self.authenticated = true;
        self.distrusted = false;
        Ok(warnings)
    }

    /// A new session begins. The key before it counts until `previous_until`, or not at all. Returns what an operator
    /// should know.
    pub fn renew(
        &mut self,
        settings: &Settings,
        material: SessionMaterial,
        previous_until: Option<Timestamp>,
    ) -> Result<Option<String>, String> {
        let (current, warning) = self.session_key(settings, &material)?;
        let is_same = self.session.as_ref().is_some_and(|session| session.material == material);
        if is_same {
            return Ok(None);
        }
        let previous = self.session.take().zip(previous_until).map(|(session, until)| Previous {
            material: session.material,
            key: session.current,
            until: Some(until),
        });
        self.session = Some(SessionKeys { material, current, previous });
        Ok(warning)
    }

    /// What was stored.
    pub fn restore(
        &mut self,
        settings: &Settings,
        secret: Option<Secret<String>>,
        current: Option<SessionMaterial>,
        previous: Option<SessionMaterial>,
    ) {
        if self.device_secret.is_none()
            && let Some(secret) = secret.filter(|secret| Identity::key_ok(secret.expose()))
        {
            self.set_secret(secret);
        }
        if !settings.encrypted {
            return;
        }
        let with_key = |material: SessionMaterial| Some((self.session_key(settings, &material).ok()?.0, material));
        let previous = previous.and_then(with_key);
        let current = current.and_then(with_key);
        self.session = current.map(|(current, material)| SessionKeys {
            material,
            current,
            previous: previous.map(|(key, material)| Previous { material, key, until: None }),
        });
    }

    fn session_key(&self, settings: &Settings, material: &SessionMaterial) -> Result<(Key, Option<String>), String> {
        let key = match settings.session_key_source {
            SessionKeySource::ProductKey => &settings.product_cipher_key,
            SessionKeySource::DeviceSecret => self.device_key().ok_or("no device secret is known")?,
        };
        let made = cipher::session_key(key, material, settings.session_content).map_err(|error| error.to_string())?;
        let warning = (!made.nonce_counts)
            .then(|| "the platform's SessionID is so long that its Nonce does not change the session key".to_owned());
        Ok((made.key, warning))
    }

    fn set_secret(&mut self, secret: Secret<String>) {
        // Whoever gives a secret has checked that it is one.
        self.device_secret = Key::from_hex(secret.expose()).map(|key| (secret, key));
    }
}

/// What was opened.
#[derive(Debug)]
pub struct Opened {
    /// The plain payload.
    pub payload: Vec<u8>,
    /// The key before the renewal has become useless by it.
    pub renewed: bool,
}

/// Why an encrypted payload cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// No authentication yet.
    #[error("there is no session key")]
    NoKey,
    /// Not encrypted by any key of ours.
    #[error(transparent)]
    Cipher(#[from] CipherError),
    /// Decrypted, it makes no sense.
    #[error("the decrypted payload has not the form of this command")]
    Sense,
}

impl Enrolment {
    /// Decrypts by the current key or, for a while after a renewal, the one before. A wrong key goes unnoticed by the
    /// padding once in 256 times, so `makes_sense` decides too.
    pub fn open(&mut self, now: Now, text: &str, makes_sense: impl Fn(&[u8]) -> bool) -> Result<Opened, OpenError> {
        let session = self.session.as_mut().ok_or(OpenError::NoKey)?;
        let decrypt = |key: &Key| {
            let payload = cipher::decrypt_hex(key, text)?;
            if makes_sense(&payload) { Ok(payload) } else { Err(OpenError::Sense) }
        };
        let error = match decrypt(&session.current) {
            Ok(payload) => return Ok(Opened { payload, renewed: session.previous.take().is_some() }),
            Err(error) => error,
        };
        let previous = session.previous.as_mut().ok_or(error)?;
        let until = *previous.until.get_or_insert(now.monotonic.after(PREVIOUS_MS));
        if now.monotonic >= until {
            session.previous = None;
            return Err(error);
        }
        let payload = decrypt(&previous.key).map_err(|_| error)?;
        Ok(Opened { payload, renewed: false })
    }
}

/// The key before a renewal counts so long at most (not documented; chosen by us).
pub const PREVIOUS_MS: u64 = 600_000;
