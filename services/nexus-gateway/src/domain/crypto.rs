//! HMAC, RSA and ECDSA for the token library, by `ring`: HS256, RS256 and ES256 (RFC 7518 section 3), and nothing
//! else. The library's own provider would bring three more curves and an RSA of its own.

use jsonwebtoken::{
    Algorithm, AlgorithmFamily, DecodingKey, DecodingKeyKind, EncodingKey,
    crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils},
    errors::{Error, ErrorKind, Result},
};
use ring::{
    hmac,
    signature::{
        ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
    },
};
use signature::{Signer, Verifier};

static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: signer,
    verifier_factory: verifier,
    // Only asked for where keys are turned into JSON Web Keys, which is not done.
    key_utils: KeyUtils::new_unimplemented(),
};

/// Makes this the process's provider. Calling it again changes nothing.
pub fn install() {
    // The only failure is that a provider is installed already, which is this one.
    let _already_installed = PROVIDER.install_default();
}

/// RFC 7518 section 3.2: HS256.
struct Hs256(hmac::Key);

impl Signer<Vec<u8>> for Hs256 {
    fn try_sign(&self, message: &[u8]) -> std::result::Result<Vec<u8>, signature::Error> {
        Ok(hmac::sign(&self.0, message).as_ref().to_vec())
    }
}

impl JwtSigner for Hs256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

impl Verifier<Vec<u8>> for Hs256 {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> std::result::Result<(), signature::Error> {
        hmac::verify(&self.0, message, signature).map_err(|_| signature::Error::new())
    }
}

impl JwtVerifier for Hs256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

/// RFC 7518 section 3.3: RS256, with keys from 2048 to 8192 bits.
struct Rs256(DecodingKey);

impl Verifier<Vec<u8>> for Rs256 {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> std::result::Result<(), signature::Error> {
        let scheme = &RSA_PKCS1_2048_8192_SHA256;
        let verified = match self.0.kind() {
            DecodingKeyKind::SecretOrDer(der) => {
                UnparsedPublicKey::new(scheme, der).verify(message, signature)
            }
            DecodingKeyKind::RsaModulusExponent { n, e } => RsaPublicKeyComponents {
                n: unpadded(n),
                e: unpadded(e),
            }
            .verify(scheme, message, signature),
        };
        verified.map_err(|_| signature::Error::new())
    }
}

impl JwtVerifier for Rs256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::RS256
    }
}

/// RFC 7518 section 3.4: ES256, the signature as two numbers of 32 bytes.
struct Es256(DecodingKey);

impl Verifier<Vec<u8>> for Es256 {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> std::result::Result<(), signature::Error> {
        let point = self.0.try_get_as_bytes().map_err(|_| signature::Error::new())?;
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
            .verify(message, signature)
            .map_err(|_| signature::Error::new())
    }
}

impl JwtVerifier for Es256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::ES256
    }
}

/// Some issuers write a number with a leading zero, which `ring` refuses.
fn unpadded(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    &number[zeros..]
}

fn signer(algorithm: &Algorithm, key: &EncodingKey) -> Result<Box<dyn JwtSigner>> {
    match (algorithm, key.family()) {
        (Algorithm::HS256, AlgorithmFamily::Hmac) => Ok(Box::new(hs256(key.as_bytes()))),
        _ => Err(Error::from(ErrorKind::InvalidAlgorithm)),
    }
}

/// An algorithm with a key of another family is refused here, once more: a public key is never a secret.
fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>> {
    match (algorithm, key.family()) {
        (Algorithm::HS256, AlgorithmFamily::Hmac) => Ok(Box::new(hs256(key.try_get_as_bytes()?))),
        (Algorithm::RS256, AlgorithmFamily::Rsa) => Ok(Box::new(Rs256(key.clone()))),
        (Algorithm::ES256, AlgorithmFamily::Ec) => Ok(Box::new(Es256(key.clone()))),
        _ => Err(Error::from(ErrorKind::InvalidAlgorithm)),
    }
}

fn hs256(secret: &[u8]) -> Hs256 {
    Hs256(hmac::Key::new(hmac::HMAC_SHA256, secret))
}
